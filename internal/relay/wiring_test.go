package relay

import (
	"os"
	"strings"
	"testing"
)

// docs/relay.md shows what setup writes.
func TestWiringIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/relay.md")
	if err != nil {
		t.Fatal(err)
	}
	want := "sender_dependent_default_transport_maps = " + Table("unix", "/var/spool/postfix/postfleet/map.sock", "/var/spool/postfix") + "\n"
	if !strings.Contains(string(text), want) {
		t.Errorf("docs/relay.md lacks\n%s", want)
	}
	for _, s := range (Wiring{Gate: 10029, Local: "127.0.0.1:10026"}).Services() {
		if want := s.Text(); !strings.Contains(string(text), want) {
			t.Errorf("docs/relay.md lacks\n%s", want)
		}
	}
}

func TestLine(t *testing.T) {
	s := Wiring{LogName: "postfix-n1", Gate: 10029}.Services()[1]
	const want = "postfleet-failover unix - - n - - smtp -o syslog_name=postfix-n1/postfleet-failover -o smtp_fallback_relay=[127.43.0.1]:10029" +
		" -o smtp_send_xforward_command=yes -o smtp_connection_reuse_time_limit=30s"
	if got := s.Line(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestTable(t *testing.T) {
	for _, c := range []struct{ network, address, queue, want string }{
		{"unix", "/var/spool/postfix/postfleet/map.sock", "/var/spool/postfix/", "socketmap:unix:postfleet/map.sock:relay"},
		{"unix", "/run/postfleet/map.sock", "/var/spool/postfix", "socketmap:unix:/run/postfleet/map.sock:relay"},
		{"unix", "/run/postfleet/map.sock", "", "socketmap:unix:/run/postfleet/map.sock:relay"},
		{"tcp", "127.0.0.1:10030", "/var/spool/postfix", "socketmap:inet:127.0.0.1:10030:relay"},
	} {
		if got := Table(c.network, c.address, c.queue); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.network, c.address, got, c.want)
		}
	}
}
