package aggregator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/internal/httperr"
)

// keyOrderPage asks whether an order about keys is meant, and says what it does on which node. It works without JavaScript,
// and nothing happens before its button.
type keyOrderPage struct {
	KeyChange
	Title  string
	Words  string
	Button string
	Steps  []keyStep
	Last   bool // a key is the last one that signs for its domain: that takes force
	May    bool // who looks may use force
}

// keyStep is what an order does on one node.
type keyStep struct {
	Node  string
	Now   []string // selectors that sign for the domain
	Then  []string // those that will
	Next  string   // instead of them, keys that are yet to be made, and when they will
	Note  string
	Doubt string // why the node will refuse, or what goes wrong
	Away  bool   // the node doesn't answer: its keys aren't known
}

// keyOrderLink leads to the page that asks.
func keyOrderLink(change KeyChange, nodes ...string) string {
	values := url.Values{"verb": {string(change.Verb)}, "domain": {change.Domain}, "node": {strings.Join(nodes, ",")}}
	if change.Selector != "" {
		values.Set("selector", change.Selector)
	}
	if change.Force {
		values.Set("force", "yes")
	}
	return withQuery("/keys/order", values)
}

// keyChangeOf reads an order from the fields of a form or an address.
func keyChangeOf(values url.Values) KeyChange {
	return KeyChange{Verb: fleet.KeyVerb(values.Get("verb")), Domain: values.Get("domain"), Selector: values.Get("selector"),
		Force: values.Get("force") == "yes"}
}

// orderedNodes are the nodes of an order, each once.
func orderedNodes(names []string) ([]string, error) {
	nodes := slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(names))), func(name string) bool { return name == "" })
	if len(nodes) == 0 || len(nodes) > mostOrdered {
		return nil, fleet.Invalid("node", "expected 1 to %d nodes", mostOrdered)
	}
	return nodes, nil
}

func (s *Server) pageKeysAsk(w http.ResponseWriter, r *http.Request) {
	values, err := parameters(r, "verb", "domain", "selector", "node", "force")
	var nodes []string
	if err == nil {
		nodes, err = orderedNodes(strings.Split(values.Get("node"), ","))
	}
	var view *keyOrderPage
	if err == nil {
		view, err = s.keyOrderPage(r, keyChangeOf(values), nodes)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "keyorder", plain(view.Title), view)
}

func (s *Server) keyOrderPage(r *http.Request, change KeyChange, nodes []string) (*keyOrderPage, error) {
	view := &keyOrderPage{KeyChange: change, May: userFrom(r.Context()).Role.May(accounts.Admin)}
	if change.Force && !view.May {
		return nil, fleet.Errorf(fleet.CodeForbidden, "forcing needs the role admin")
	}
	if change.Verb != fleet.KeyRotate && change.Verb != fleet.KeyActivate && change.Verb != fleet.KeyRetire {
		return nil, fleet.Invalid("verb", "expected rotate, activate or retire, not %q", clip(string(change.Verb), 40))
	}
	var key *fleet.Key
	all := s.fleet.Keys(r.Context())
	for _, node := range nodes {
		at := slices.IndexFunc(all, func(one NodeKeysView) bool { return one.Answer.Node == node })
		switch {
		case at < 0:
			return nil, fleet.Errorf(fleet.CodeNotFound, "no node %q in the fleet", clip(node, 80))
		case all[at].Keys == nil:
			view.Steps = append(view.Steps, keyStep{Node: node, Away: true, Doubt: "it can't be told: " + all[at].Answer.Error})
			continue
		}
		keys := all[at].Keys
		if change.Verb == fleet.KeyRotate {
			view.Steps = append(view.Steps, rotateStep(keys, change.Domain))
			continue
		}
		found := slices.IndexFunc(keys.Keys, func(k fleet.Key) bool { return k.Domain == change.Domain && k.Selector == change.Selector })
		if found < 0 {
			return nil, fleet.Errorf(fleet.CodeNotFound, "node %s has no key %q for %q", clip(node, 80), clip(change.Selector, 80), clip(change.Domain, 80))
		}
		key = &keys.Keys[found]
		step := activateStep(keys, key, change.Force)
		if change.Verb == fleet.KeyRetire {
			step = retireStep(keys, key)
			view.Last = view.Last || len(step.Then) == 0 && key.Stage == fleet.StageActive
		}
		view.Steps = append(view.Steps, step)
	}
	view.say(key, len(nodes))
	return view, nil
}

// say puts the question. The key is that of the order, nil for one that makes new ones or where its node doesn't answer.
func (p *keyOrderPage) say(key *fleet.Key, nodes int) {
	waits := key != nil && key.Stage == fleet.StageWaiting
	switch {
	case p.Verb == fleet.KeyRotate:
		p.Title = "Make the next keys of " + p.Domain + " on " + plural(nodes, "node", "nodes") + "?"
		p.Words = "The keys in use sign on until the new ones may. Then those take over, and the old ones retire: their records must stay while mail is under way."
		p.Button = "Make the next keys"
	case p.Verb == fleet.KeyActivate && p.Force:
		p.Title = "Sign with " + p.Selector + " without its record?"
		p.Words = "It signs from now on, although its record was not seen. Where there is none, receivers can't verify what it signs. Who did it is written down."
		p.Button = "Sign without the record"
	case p.Verb == fleet.KeyActivate:
		p.Title = "Sign with " + p.Selector + "?"
		p.Words = "It signs from now on. What signs now retires: its record must stay while mail is under way."
		p.Button = "Sign with it"
	case waits:
		p.Title = "Call off " + p.Selector + "?"
		p.Words = "It never signs, and its private half is removed: it doesn't come back. What signs now goes on."
		p.Button = "Call it off"
	default:
		p.Title = "Retire " + p.Selector + "?"
		p.Words = "It stops signing now. Its record must stay while mail is under way; until then it can sign again."
		p.Button = "Retire it"
	}
}

func rotateStep(keys *fleet.NodeKeys, domain string) keyStep {
	step := keyStep{Node: keys.Node, Now: signing(keys, domain), Next: "new keys, once their records are seen"}
	if keys.Require == "never" {
		step.Next = "new keys, at once"
		step.Note = "this node asks for no record: publish it at once, or receivers can't verify the mail"
	} else if keys.Updates {
		step.Note = "the node puts the records into DNS itself"
	} else {
		step.Note = "you publish the records; until then nothing changes"
	}
	if slices.ContainsFunc(keys.Keys, func(k fleet.Key) bool { return k.Domain == domain && k.Stage == fleet.StageWaiting }) {
		step.Then, step.Next, step.Note, step.Doubt = step.Now, "", "", "its next keys are made already, and wait"
	}
	return step
}

func activateStep(keys *fleet.NodeKeys, key *fleet.Key, force bool) keyStep {
	step := keyStep{Node: keys.Node, Now: signing(keys, key.Domain)}
	var retire []string
	for i := range keys.Keys {
		other := &keys.Keys[i]
		switch {
		case other.Domain != key.Domain:
		case generation(other) == generation(key) && other.Stage == key.Stage:
			step.Then = append(step.Then, other.Selector)
			if seen := other.Found.Record == fleet.RecordMatches; !seen && !force && keys.Require != "never" && step.Doubt == "" {
				step.Doubt = "it will refuse: the record " + other.Name + " was not seen"
			}
		case other.Stage == fleet.StageActive && generation(other) == generation(key):
			step.Then = append(step.Then, other.Selector)
		case other.Stage == fleet.StageActive:
			retire = append(retire, other.Selector)
		}
	}
	if len(retire) > 0 {
		step.Note = recordStays(keys, retire...)
	}
	if key.Conflict != "" {
		step.Doubt = "it will refuse: " + key.Conflict
	}
	return step
}

func retireStep(keys *fleet.NodeKeys, key *fleet.Key) keyStep {
	step := keyStep{Node: keys.Node, Now: signing(keys, key.Domain)}
	step.Then = slices.DeleteFunc(slices.Clone(step.Now), func(selector string) bool { return selector == key.Selector })
	if key.Stage == fleet.StageActive {
		step.Note = recordStays(keys, key.Selector)
		if len(step.Then) == 0 {
			step.Doubt = "no other key signs for " + key.Domain + " there: its mail is refused for now, or leaves unsigned"
		}
	}
	return step
}

func recordStays(keys *fleet.NodeKeys, selectors ...string) string {
	return strings.Join(selectors, ", ") + " must stay in DNS for " + durationDays(keys.KeepOld)
}

// signing are the selectors in use for a domain.
func signing(keys *fleet.NodeKeys, domain string) (selectors []string) {
	for i := range keys.Keys {
		if key := &keys.Keys[i]; key.Domain == domain && key.Stage == fleet.StageActive {
			selectors = append(selectors, key.Selector)
		}
	}
	return selectors
}

// generation is what the selectors of keys have in common that begin to sign together, one of each type.
func generation(key *fleet.Key) string { return strings.TrimSuffix(key.Selector, "-ed25519") }

// pageKeysOrder does what a form asks, for one node or for all that the form names.
func (s *Server) pageKeysOrder(w http.ResponseWriter, r *http.Request) {
	if !s.readForm(w, r, maxBody) {
		return
	}
	change := keyChangeOf(r.PostForm)
	nodes, failure := orderedNodes(r.PostForm["node"])
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes { // at once: nodes that don't answer must not add up to more than a browser waits for
		all.Go(func() { _, errs[i] = s.orderKeys(r, node, change) })
	}
	all.Wait()
	var failed []string
	for i, err := range errs {
		if err != nil {
			failure, failed = err, append(failed, nodes[i]+": "+strings.TrimPrefix(publicMessage(err), "node "+nodes[i]+": "))
		}
	}
	if failure == nil {
		http.Redirect(w, r, "/keys?"+url.Values{"done": {string(change.Verb)}}.Encode(), http.StatusSeeOther)
		return
	}
	view := s.keysPage(r)
	view.Error = strings.Join(failed, "; ")
	if view.Error == "" {
		view.Error = publicMessage(failure)
	}
	s.render(w, r, httperr.Status(httperr.Public(failure).Code), "keys", "DKIM keys", view)
}
