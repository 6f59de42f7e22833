package relay

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	keys "github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/test/lab"
)

// records are the DNS records of all nodes' keys, by name.
func (s *site) records() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for i := range s.nodes {
		template, err := keys.ParseTemplate("{node}", name(i))
		s.must(err)
		ring, err := keys.LoadKeys(s.lab.Path("keys-"+name(i)), template)
		s.must(err)
		for _, key := range ring.Keys() {
			all[key.RecordName()] = key.Record()
		}
	}
	return all
}

var selectorTag = regexp.MustCompile(`\bs\s*=\s*([^;\s]*)`)

// signers verifies every signature of a message and gives the nodes that made them, sorted. A broken signature fails the
// test, and so do two by one selector and one by nobody of the fleet.
func (s *site) signers(records map[string]string, message []byte) []string {
	s.t.Helper()
	verified, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{MaxVerifications: 20,
		LookupTXT: func(name string) ([]string, error) {
			if record, ok := records[name]; ok {
				return []string{record}, nil
			}
			return nil, fmt.Errorf("no record for %s", name)
		}})
	s.must(err)
	for _, v := range verified {
		if v.Err != nil || v.Domain != "shop.example" {
			s.t.Errorf("a signature of %s: %v\n%s", v.Domain, v.Err, header(message))
		}
	}
	var selectors, nodes []string
	for _, field := range fields(message) {
		selector := selectorTag.FindStringSubmatch(field)[1]
		if slices.Contains(selectors, selector) {
			s.t.Errorf("two signatures by %s:\n%s", selector, header(message))
		}
		selectors = append(selectors, selector)
		if node, _, _ := strings.Cut(selector, "-"); !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	if len(verified) != len(selectors) || len(selectors) == 0 {
		s.t.Errorf("%d signatures, %d verified:\n%s", len(selectors), len(verified), header(message))
	}
	slices.Sort(nodes)
	return nodes
}

func header(message []byte) []byte {
	header, _, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	return header
}

// fields are the DKIM-Signature fields, unfolded.
func fields(message []byte) (list []string) {
	unfolded := strings.NewReplacer("\r\n\t", " ", "\r\n ", " ").Replace(string(header(message)))
	for line := range strings.Lines(unfolded) {
		if strings.HasPrefix(strings.ToLower(line), "dkim-signature:") {
			list = append(list, line)
		}
	}
	return list
}

// content is the message as the remote server got it.
func (s *site) content(id string) []byte {
	s.t.Helper()
	s.arrived(id)
	for _, taken := range s.tap.Taken() {
		if taken.Accepted && bytes.Contains(taken.Content, []byte("<"+id+">")) {
			return taken.Content
		}
	}
	s.t.Fatalf("message %s has not arrived", id)
	return nil
}

// openDKIM has OpenDKIM verify messages, too (opendkim(8), -t): every signature must pass.
func (s *site) openDKIM(records map[string]string, messages [][]byte) {
	s.t.Helper()
	dir := s.t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		s.must(os.WriteFile(path, content, 0o644))
		return path
	}
	var public strings.Builder
	for name, record := range records {
		fmt.Fprintf(&public, "%s %s\n", name, record)
	}
	config := write("opendkim.conf", []byte("Mode v\nMaximumSignaturesToVerify 20\nTestPublicKeys "+write("keys.txt", []byte(public.String()))+"\n"))
	for i, message := range messages {
		out, err := exec.Command("opendkim", "-x", config, "-vvv", "-t", write(fmt.Sprintf("%d.eml", i), message)).CombinedOutput()
		if err != nil {
			s.t.Errorf("opendkim: %v\n%s", err, out)
			continue
		}
		if passed := strings.Count(string(out), "dkim=pass"); passed != len(fields(message)) || strings.Contains(string(out), "dkim=fail") {
			s.t.Errorf("opendkim passes %d of %d signatures\n%s\n%s", passed, len(fields(message)), header(message), out)
		}
	}
}

// TestWhoSigns: in each mode the mail carries the signatures that the settings ask for, of those nodes alone.
func TestWhoSigns(t *testing.T) {
	s := newSite(t, options{nodes: 2, settings: "mode: off\ncarry: [n2]"})
	s.ready(0, 1)
	unreachable, err := lab.FreeHost()
	s.must(err)
	records := s.records()
	set := func(before, after string) {
		for i := range s.nodes {
			s.reconfigure(i, before, after)
		}
	}
	var all [][]byte
	// What clients put into the header. Signatures that claim to be a node's go, or there would be two by one selector.
	letters := map[string]string{
		"nothing":               "",
		"signatures of ours":    "DKIM-Signature: v=1; a=rsa-sha256; d=shop.example; s=n1;\r\n\th=from; bh=x; b=x\r\ndkim-signature: d=shop.\r\n example; s\t=\r\n\tn1-ed25519; v=1\r\n",
		"long and folded lines": "X-Long: " + strings.Repeat("word ", 150) + "\r\nX-Folded: a\r\n\tb\r\n  c\r\n",
		"a Received field":      "Received: from x by y; Mon, 23 Nov 2026 10:00:00 +0000\r\n",
	}
	for _, step := range []struct {
		before, after string
		reachable     bool // for the origin
		way           string
		signers       []string
	}{
		{"", "", true, "n1", []string{"n1"}},
		{"mode: off", "mode: balance", true, "n1>n2", []string{"n2"}},
		{"mode: balance", "mode: failover", false, "n1>n2", []string{"n1"}},
		{"carry: [n2]", "carry: [n2]\n  carrier_signs: true", false, "n1>n2", []string{"n1", "n2"}},
		{"mode: failover", "mode: balance", true, "n1>n2", []string{"n2"}},
		{"mode: balance", "mode: off", true, "n1", []string{"n1"}},
	} {
		set(step.before, step.after)
		at := s.ip
		if !step.reachable {
			at = unreachable
		}
		s.must(s.nodes[0].Postfix.Name("remote.example", at))
		var got []string
		n := 0
		s.until(func(context.Context) error { // until the setting holds on both nodes
			// Another recipient each time: Postfix remembers the way of the last one for 30 s (resolve_clnt.c).
			n++
			id := s.send(0, mail("a@shop.example", fmt.Sprintf("user%d@remote.example", n)))
			if way := s.arrived(id); way != step.way {
				return fmt.Errorf("%s: went %s, want %s", step.after, way, step.way)
			}
			if got = s.signers(records, s.content(id)); !slices.Equal(got, step.signers) {
				return fmt.Errorf("%s: signed by %v, want %v", step.after, got, step.signers)
			}
			return nil
		})
		for name, first := range letters {
			id := lab.NewID()
			_, err := lab.Client{}.Send(s.ctx, s.nodes[0].Postfix.Addr, lab.Mail{From: "a@shop.example", To: []string{"one@remote.example"},
				Raw: []byte(first + "From: <a@shop.example>\r\nSubject: x\r\nMessage-ID: <" + id + ">\r\n\r\nA line with spaces at its end  \r\n")})
			s.must(err)
			message := s.content(id)
			if got := s.signers(records, message); !slices.Equal(got, step.signers) {
				t.Errorf("%s, %s: signed by %v, want %v", step.after, name, got, step.signers)
			}
			all = append(all, message)
		}
	}
	s.openDKIM(records, all)
}

// TestSignaturesWhileModesChange: under load, while the nodes change from one mode to another at different moments, every
// mail arrives once, with good signatures of nodes and no other.
func TestSignaturesWhileModesChange(t *testing.T) {
	s := newSite(t, options{settings: "mode: off\ncarrier_signs: true"})
	s.ready(0, 2)
	s.ready(1, 2)
	records := s.records()
	// Only n3 reaches this domain, so that there is something to fail over.
	unreachable, err := lab.FreeHost()
	s.must(err)
	s.point("far.example", unreachable)
	s.must(s.nodes[2].Postfix.Name("far.example", s.ip))
	var sent sync.Map
	var count atomic.Int64
	ctx, cancel := context.WithCancel(s.ctx)
	var senders sync.WaitGroup
	failed := make(chan error, 4)
	for n := range 4 {
		senders.Go(func() {
			for ctx.Err() == nil {
				mails := make([]lab.Mail, 5)
				for i := range mails {
					domain := "remote.example"
					if i == 0 {
						domain = "far.example"
					}
					mails[i] = lab.Mail{ID: lab.NewID(), From: fmt.Sprintf("s%d@shop.example", count.Add(1)), To: []string{"user@" + domain},
						Subject: "under load", Text: "A message."}
				}
				outcomes, err := lab.Client{}.Send(s.ctx, s.nodes[n%2].Postfix.Addr, mails...)
				for i, outcome := range outcomes {
					if outcome.Err == nil {
						sent.Store(mails[i].ID, true)
					}
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	began := time.Now()
	mode := make([]string, len(s.nodes))
	for i := range mode {
		mode[i] = "off"
	}
	for _, next := range []string{"balance", "failover", "off", "failover", "balance", "off", "balance"} {
		for i := range s.nodes {
			before := count.Load()
			s.until(func(context.Context) error { // so many mails meet nodes of two minds
				if count.Load() < before+15 {
					return fmt.Errorf("%d mails", count.Load())
				}
				return nil
			})
			s.reconfigure(i, "mode: "+mode[i], "mode: "+next)
			mode[i] = next
		}
	}
	cancel()
	senders.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	s.point("far.example", s.ip)
	ways, signers := map[string]int{}, map[string]int{}
	var sample [][]byte
	n := 0
	sent.Range(func(id, _ any) bool {
		way := s.arrived(id.(string))
		message := s.content(id.(string))
		ways[way]++
		signers[strings.Join(s.signers(records, message), "+")]++
		if n++; n%20 == 0 {
			sample = append(sample, message)
		}
		return !t.Failed()
	})
	s.openDKIM(records, sample)
	t.Logf("%d mails in %s went %v, signed by %v; OpenDKIM agrees on %d of them", n, time.Since(began).Round(time.Second), ways, signers, len(sample))
	if ways["n1>n2"] == 0 || ways["n2>n1"] == 0 || ways["n1"] == 0 {
		t.Errorf("the load didn't go all ways: %v", ways)
	}
}
