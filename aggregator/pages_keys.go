package aggregator

import (
	"net/http"
	"slices"
	"strings"

	"github.com/postfleet/postfleet/aggregator/accounts"
	"github.com/postfleet/postfleet/internal/fleet"
)

// keysPage are the DKIM keys of the fleet, by domain.
type keysPage struct {
	Clashes []string
	Failed  []Answer
	Domains []keyDomain
	Nodes   []keyNode
	History []keyEvent
	May     bool // who looks may order
	Force   bool // and against what DNS says
	Done    string
	Error   string
}

// keyDomain are the keys of one domain, those in use first.
type keyDomain struct {
	Domain string
	Rows   []keyRow
	Nodes  []string // that can make a next key: they have one in use and none that waits
}

type keyRow struct {
	fleet.Key
	Mark  mark
	Note  string // what is going on, in words
	Alarm string
}

// keyNode is how a node treats its keys.
type keyNode struct {
	*fleet.NodeKeys
	Rotation string
}

type keyEvent struct {
	Node string
	fleet.KeyEvent
}

// keyMarks are the states as pages show them.
var keyMarks = map[fleet.KeyState]mark{
	fleet.KeyGenerated: {"queued", "wait", "Generated", "Made; it signs once its record is seen in DNS"},
	fleet.KeyPublished: {"relayed", "carried", "Published", "Its record is in DNS; it signs next"},
	fleet.KeyActive:    {"delivered", "good", "Active", "It signs, and its record is in DNS as far as is known"},
	fleet.KeyRetiring:  {"held", "quiet", "Retiring", "It signs no more; mail under way still needs its record"},
	fleet.KeyRetired:   {"unknown", "quiet", "Retired", "Its record may be removed"},
	fleet.KeyMissing:   {"bounced", "bad", "Missing", "In use, and DNS has no record for it"},
	fleet.KeyMismatch:  {"bounced", "bad", "Mismatch", "DNS has another record at its name"},
}

// mostOrdered is how many nodes one form may name: more than a fleet has.
const mostOrdered = 500

// maxKeyHistory is how many events the page shows.
const maxKeyHistory = 40

func (s *Server) pageKeys(w http.ResponseWriter, r *http.Request) {
	view := s.keysPage(r)
	view.Done = r.URL.Query().Get("done")
	s.render(w, r, http.StatusOK, "keys", "DKIM keys", view)
}

func (s *Server) keysPage(r *http.Request) *keysPage {
	answer := s.keys(r.Context())
	role := userFrom(r.Context()).Role
	view := &keysPage{Clashes: answer.Clashes, May: role.May(accounts.Operator), Force: role.May(accounts.Admin)}
	byDomain := map[string]*keyDomain{}
	for _, node := range answer.Nodes {
		if node.Keys == nil {
			view.Failed = append(view.Failed, node.Answer)
			continue
		}
		view.Nodes = append(view.Nodes, keyNode{node.Keys, rotationWords(node.Keys)})
		for _, event := range node.Keys.History {
			view.History = append(view.History, keyEvent{node.Answer.Node, event})
		}
		for _, key := range node.Keys.Keys {
			if byDomain[key.Domain] == nil {
				byDomain[key.Domain] = &keyDomain{Domain: key.Domain}
			}
			byDomain[key.Domain].Rows = append(byDomain[key.Domain].Rows, newKeyRow(key))
		}
	}
	for _, one := range byDomain {
		one.Nodes = rotatable(one.Rows)
		view.Domains = append(view.Domains, *one)
	}
	slices.SortFunc(view.Domains, func(a, b keyDomain) int { return strings.Compare(a.Domain, b.Domain) })
	slices.SortStableFunc(view.History, func(a, b keyEvent) int { return b.Time.Compare(a.Time) })
	view.History = view.History[:min(len(view.History), maxKeyHistory)]
	return view
}

// rotatable are the nodes that can make a next key for a domain.
func rotatable(rows []keyRow) (nodes []string) {
	for _, row := range rows {
		waits := slices.ContainsFunc(rows, func(other keyRow) bool { return other.Node == row.Node && other.Stage == fleet.StageWaiting })
		if row.Stage == fleet.StageActive && !waits && !slices.Contains(nodes, row.Node) {
			nodes = append(nodes, row.Node)
		}
	}
	return nodes
}

func newKeyRow(key fleet.Key) keyRow {
	row := keyRow{Key: key, Mark: keyMarks[key.Judge()], Alarm: key.Alarm()}
	switch {
	case key.Stage == fleet.StageRetired:
		row.Alarm = ""
		if key.Found.Record == fleet.RecordMatches {
			row.Note = "take its record out of DNS"
		} else {
			row.Note = "nothing is left to do"
		}
	case key.Stage == fleet.StageRetiring:
		row.Note = "its record must stay until " + key.Removable.UTC().Format("2006-01-02 15:04 MST")
	case key.Stage == fleet.StageWaiting && key.Waits != "":
		row.Note = "waits for " + key.Waits
	case key.Stage == fleet.StageActive && !key.Signs:
		row.Note = "suspended: its record is not in DNS"
	case key.Forced != "":
		row.Note = "forced by " + key.Forced
	}
	return row
}

func rotationWords(keys *fleet.NodeKeys) string {
	if keys.Every == 0 {
		return "by hand"
	}
	words := "every " + durationDays(keys.Every)
	if !keys.Next.IsZero() {
		words += ", next on " + keys.Next.UTC().Format("2006-01-02")
	}
	return words
}

// keyAct is a link to a page that asks whether an order is meant.
type keyAct struct{ Text, Link string }

// Acts are the orders that make sense for a key as it is.
func (r keyRow) Acts(force bool) (acts []keyAct) {
	add := func(text string, verb fleet.KeyVerb, force bool) {
		change := KeyChange{Verb: verb, Domain: r.Domain, Selector: r.Selector, Force: force}
		acts = append(acts, keyAct{text, keyOrderLink(change, r.Node)})
	}
	switch r.Stage {
	case fleet.StageWaiting:
		add("Activate", fleet.KeyActivate, false)
		add("Call off", fleet.KeyRetire, false)
		if force {
			add("Force", fleet.KeyActivate, true)
		}
	case fleet.StageActive:
		add("Retire", fleet.KeyRetire, false)
	case fleet.StageRetiring:
		add("Sign again", fleet.KeyActivate, false)
	}
	return acts
}

// Rotate leads to the page that asks whether the next keys of the domain are to be made.
func (d keyDomain) Rotate() string {
	return keyOrderLink(KeyChange{Verb: fleet.KeyRotate, Domain: d.Domain}, d.Nodes...)
}

// DoneWords are what came of an order.
func (p *keysPage) DoneWords() string {
	switch fleet.KeyVerb(p.Done) {
	case fleet.KeyRotate:
		return "The next keys are made. Publish their records; each signs once its node sees its record."
	case fleet.KeyActivate:
		return "The key signs. The one before is retiring: its record must stay."
	case fleet.KeyRetire:
		return "The key signs no more."
	case fleet.KeyCheck:
		return "The nodes are looking at DNS now."
	}
	return ""
}
