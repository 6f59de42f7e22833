package aggregator

import (
	"os"
	"strings"
	"testing"

	"github.com/postfleet/postfleet/internal/fleet"
)

// Every state has words and an icon that the sprite holds.
func TestMarks(t *testing.T) {
	sprite, err := os.ReadFile("web/templates/parts/icons.html")
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, m mark) {
		t.Helper()
		if m.Text == "" || m.Note == "" || m.Tone == "" {
			t.Errorf("%s: incomplete: %+v", name, m)
		}
		if !strings.Contains(string(sprite), `id="i-`+m.Icon+`"`) {
			t.Errorf("%s: no icon %q in the sprite", name, m.Icon)
		}
	}
	for _, status := range fleet.Statuses {
		if _, known := statusMarks[status]; !known {
			t.Errorf("status %s has no mark", status)
		}
		check(string(status), statusMark(status))
	}
	check("a status of a newer node", statusMark("teleported"))
	for _, entry := range legend() {
		for _, one := range entry.Marks {
			check("legend: "+one.Text, one)
		}
	}
	for fate, one := range fateMarks {
		check(string(fate), one)
	}
}

func TestOutMark(t *testing.T) {
	to := func(daemon, addr, tls string) fleet.Recipient {
		return fleet.Recipient{Status: fleet.StatusDelivered, Attempts: []fleet.Attempt{{Daemon: daemon, RelayAddr: addr, TLS: tls}}}
	}
	secret, open, local := to("smtp", "192.0.2.1", "TLSv1.3"), to("smtp", "192.0.2.1", ""), to("lmtp", "", "")
	for _, c := range []struct {
		name string
		to   []fleet.Recipient
		want mark
	}{
		{"encrypted", []fleet.Recipient{secret, secret}, arrowEncrypted},
		{"in clear", []fleet.Recipient{open}, arrowClear},
		{"mixed", []fleet.Recipient{secret, open}, arrowMixed},
		{"on the node itself", []fleet.Recipient{local}, mark{}},
		{"on the node itself and elsewhere", []fleet.Recipient{local, secret}, arrowEncrypted},
		{"nowhere yet", []fleet.Recipient{{Status: fleet.StatusDeferred, Attempts: secret.Attempts}}, mark{}},
	} {
		if got := outMark(&fleet.Message{Recipients: c.to}); got != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestDSNNote(t *testing.T) {
	for in, want := range map[string]string{"2.0.0": "success", "5.1.1": "no such mailbox, permanent", "4.2.2": "mailbox full, temporary",
		"5.7.26": "neither SPF nor DKIM passed, permanent", "5.99.99": "", "": "", "x": ""} {
		if got := dsnNote(in); got != want {
			t.Errorf("dsnNote(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestDelayParts(t *testing.T) {
	for _, c := range []struct {
		name   string
		delays []float64
		parts  int
	}{
		{"all four", []float64{0.1, 0.01, 0.3, 0.5}, 4}, {"one that dwarfs the others", []float64{0.01, 86400, 0.01, 0.01}, 4},
		{"nothing took time", []float64{0, 0, 0, 0}, 0}, {"not four", []float64{1, 2}, 0}, {"none", nil, 0}, {"a clock that went back", []float64{-1, 0, 1, 1}, 4},
	} {
		parts := delayParts(c.delays)
		if len(parts) != c.parts {
			t.Errorf("%s: %d parts, want %d", c.name, len(parts), c.parts)
		}
		end := 0.0
		for i, part := range parts {
			if part.X < end-0.02 || part.W < 0 || part.X+part.W > 100.02 {
				t.Errorf("%s: part %d lies at %v, %v wide, after %v", c.name, i, part.X, part.W, end)
			}
			if c.delays[i] > 0 && part.W < 1 {
				t.Errorf("%s: part %d can't be seen", c.name, i)
			}
			end = part.X + part.W
		}
	}
}
