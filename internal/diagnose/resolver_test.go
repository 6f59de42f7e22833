package diagnose

import (
	"testing"

	"github.com/miekg/dns"
)

// What an answer lacks tells nothing unless it says so itself.
func TestRead(t *testing.T) {
	const (
		alias, loop = "a.test. 60 IN CNAME b.test.", "b.test. 60 IN CNAME a.test."
		text, soa   = `b.test. 60 IN TXT "x"`, "test. 60 IN SOA ns.test. h.test. 1 1 1 1 1"
	)
	for _, c := range []struct {
		name           string
		answer, places []string
		want           Status
	}{
		{"along an alias", []string{alias, text}, nil, Found},
		{"an alias of nothing", []string{alias}, []string{soa}, NoData},
		{"an alias without its end", []string{alias}, nil, Garbled},
		{"aliases in a circle", []string{alias, loop}, nil, Garbled},
		{"nothing", nil, []string{soa}, NoData},
		{"another name", []string{text}, nil, Garbled},
		{"a referral", nil, []string{"test. 60 IN NS ns.test."}, Lame},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := question{"a.test.", dns.TypeTXT}
			reply := new(dns.Msg).SetReply(new(dns.Msg).SetQuestion(q.name, q.qtype))
			reply.Answer, reply.Ns = records(t, c.answer), records(t, c.places)
			var a Answer
			if a.read(reply, q); a.Status != c.want {
				t.Errorf("%s, expected %s", a.Status, c.want)
			}
		})
	}
}

func records(t *testing.T, lines []string) (list []dns.RR) {
	t.Helper()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rr)
	}
	return list
}
