package diagnose

import (
	"context"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

var eightBit = Check{
	Name: "8bitmime", Title: "No downgrade of 8-bit mail after signing", Group: GroupOut, Needs: []Need{NeedPostfix},
	Why: "Where the next server doesn't take 8-bit text (8BITMIME, RFC 6152), Postfix rewrites the body as quoted-printable, after the milter has signed it: the DKIM signature breaks.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		if smtp := f.Postfix.Service("smtp", "unix"); smtp != nil {
			parts = append(parts, f.keeps8bit(smtp))
		}
		for i := range f.tryOutwards(ctx) {
			if o := &f.out.list[i]; o.err == nil {
				parts = append(parts, takes8bit(o.server, o.ehlo, o.lines))
			}
		}
		if f.Recent == nil {
			return parts
		}
		recent, err := f.Recent(ctx)
		if err != nil {
			return append(parts, *unknown("recent conversations", err.Error()))
		}
		for _, greeting := range recent.Greetings {
			if p := takes8bit(greeting.Peer, reply{code: 250, lines: greeting.Lines}, greeting.Lines); p.Grade != fleet.GradePass {
				parts = append(parts, p)
			}
		}
		if len(recent.Greetings) > 0 {
			parts = append(parts, part("recent conversations", fleet.GradePass, "%s looked at", plural(len(recent.Greetings), "server's greeting", "servers' greetings")))
		}
		return parts
	},
}

// keeps8bit looks for settings that make Postfix rewrite, or send what the other side didn't agree to.
func (f *Facts) keeps8bit(smtp *Service) fleet.Part {
	discarded := smtp.Value("smtp_discard_ehlo_keywords")
	p := part("settings", fleet.GradePass, "Postfix sends 8-bit text to servers that take it")
	p.Evidence = []string{"smtp_discard_ehlo_keywords = " + discarded, "disable_mime_output_conversion = " + smtp.Value("disable_mime_output_conversion")}
	for _, word := range words(discarded) {
		if strings.EqualFold(word, "8bitmime") {
			p.Grade, p.Seen = fleet.GradeFail, "smtp_discard_ehlo_keywords has 8bitmime: every 8-bit message is rewritten after it was signed"
			p.Mend = []string{"Take 8bitmime out of the list, then reload:", smtp.Set("smtp_discard_ehlo_keywords", without(discarded, word)), reload}
		}
	}
	return p
}

func without(list, word string) string {
	var kept []string
	for _, one := range words(list) {
		if one != word {
			kept = append(kept, one)
		}
	}
	return strings.Join(kept, ", ")
}

func takes8bit(server string, ehlo reply, evidence []string) fleet.Part {
	p := part(server, fleet.GradePass, "%s takes 8-bit text", server)
	p.Evidence = evidence
	if !ehlo.has("8BITMIME") {
		p.Grade, p.Seen = fleet.GradeWarn, server+" doesn't offer 8BITMIME: 8-bit mail to it is rewritten after signing, and its signature breaks"
		p.Mend = []string{"If that server is yours, or a relay that you pay for, have 8BITMIME switched on there. If much of your mail goes to such servers, don't " +
			"offer it to your own clients, who then send 7-bit text in the first place, then reload:",
			"postconf -e 'smtpd_discard_ehlo_keywords = 8bitmime, silent-discard'", reload}
	}
	return p
}
