package diagnose

import (
	"testing"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

const (
	socket = "unix:/var/spool/postfix/postfleet/milter.sock"
	wired  = "smtpd_milters = unix:postfleet/milter.sock\nnon_smtpd_milters = unix:postfleet/milter.sock\n"
	strict = "smtpd_forbid_bare_newline = yes\nsmtpd_forbid_unauth_pipelining = yes\n"
)

// What is wrong with main.cf and master.cf, as the real postconf(1) reads them.
func TestSettings(t *testing.T) {
	type facts = diagnose.Facts
	for _, c := range []struct {
		name, check  string
		main, master string
		facts        facts
		want         want
	}{
		{"wired", "milter", wired, "", facts{}, want{grade: fleet.GradePass}},
		{"absolute, within the chroot", "milter", "smtpd_milters = unix:/postfleet/milter.sock\nnon_smtpd_milters = unix:/postfleet/milter.sock\n", "", facts{}, want{grade: fleet.GradePass}},
		{"among others, in braces", "milter", "smtpd_milters = inet:127.0.0.1:8891 {unix:postfleet/milter.sock, connect_timeout=10s}\nnon_smtpd_milters = unix:postfleet/milter.sock\n", "", facts{},
			want{grade: fleet.GradePass}},
		{"unwired", "milter", "", "", facts{}, want{fleet.GradeFail, "smtp doesn't show its mail to the milter", []string{"smtpd_milters = unix:postfleet/milter.sock", "postfix reload"}}},
		{"not for local mail", "milter", "smtpd_milters = unix:postfleet/milter.sock\n", "", facts{}, want{fleet.GradeFail, "sendmail(1)", []string{"non_smtpd_milters = unix:postfleet/milter.sock"}}},
		{"another milter alone", "milter", "smtpd_milters = inet:127.0.0.1:8891\nnon_smtpd_milters = unix:postfleet/milter.sock\n", "", facts{},
			want{fleet.GradeFail, "doesn't show", []string{"inet:127.0.0.1:8891, unix:postfleet/milter.sock"}}},
		{"unwired on one service", "milter", wired, "smtp inet n - y - - smtpd\nsubmission inet n - y - - smtpd\n  -o smtpd_milters=\ncleanup unix n - y - 0 cleanup\nsmtp unix - - y - - smtp\n", facts{},
			want{fleet.GradeFail, "submission doesn't show", []string{"submission/inet/smtpd_milters=unix:postfleet/milter.sock"}}},
		{"a filter's way back", "milter", wired, "smtp inet n - y - - smtpd\n127.0.0.1:10025 inet n - y - - smtpd\n  -o smtpd_milters=\ncleanup unix n - y - 0 cleanup\nsmtp unix - - y - - smtp\n", facts{},
			want{grade: fleet.GradePass}},
		{"lets unsigned mail out", "milter", wired + "milter_default_action = accept\n", "", facts{}, want{fleet.GradeFail, "unsigned", []string{"milter_default_action = tempfail"}}},
		{"refuses for good", "milter", wired + "milter_default_action = reject\n", "", facts{}, want{fleet.GradeFail, "for good", []string{"milter_default_action = tempfail"}}},
		{"holds", "milter", wired + "milter_default_action = quarantine\n", "", facts{}, want{fleet.GradeWarn, "on hold", []string{"tempfail"}}},
		{"a milter's own default action", "milter", "smtpd_milters = {unix:postfleet/milter.sock, default_action=accept}\nnon_smtpd_milters = unix:postfleet/milter.sock\n", "", facts{},
			want{fleet.GradeFail, "unsigned", nil}},

		{"captures", "capture", "", captured("smtp") + captured("relay"), facts{Captured: "on"}, want{grade: fleet.GradePass}},
		{"off", "capture", "", "", facts{}, want{grade: fleet.GradeNA, seen: "reconstructed"}},
		{"half", "capture", "", captured("smtp") + "relay unix - - y - - smtp\n", facts{}, want{fleet.GradeWarn, "off for relay", []string{"relay/unix/debug_peer_list"}}},
		{"not reloaded", "capture", "", captured("smtp") + captured("relay"), facts{Captured: "off"}, want{fleet.GradeFail, "the log shows none", []string{"postfix reload"}}},
		{"not reloaded after it was switched off", "capture", "", "", facts{Captured: "on"}, want{fleet.GradeWarn, "still captures", []string{"postfix reload"}}},
		{"password in the log", "capture", "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = texthash:/etc/postfix/sasl\nrelayhost = [relay.test]:587\n", captured("smtp") + captured("relay"), facts{},
			want{fleet.GradeWarn, "password stands in the log", []string{"smtp/unix/debug_peer_list=!relay.test 0.0.0.0/0 [::]/0"}}},

		{"strict", "smuggling", strict, "", facts{}, want{grade: fleet.GradePass}},
		{"bare newline", "smuggling", "smtpd_forbid_bare_newline = no\nsmtpd_forbid_unauth_pipelining = yes\n", "", facts{}, want{fleet.GradeFail, "takes bare line feeds", []string{"smtpd_forbid_bare_newline = yes"}}},
		{"bare newline on one service", "smuggling", strict, "smtp inet n - y - - smtpd\nsubmission inet n - y - - smtpd\n  -o smtpd_forbid_bare_newline=no\nsmtp unix - - y - - smtp\n", facts{},
			want{fleet.GradeFail, "submission takes bare", []string{"submission/inet/smtpd_forbid_bare_newline=yes"}}},
		{"pipelining", "smuggling", "smtpd_forbid_bare_newline = yes\nsmtpd_forbid_unauth_pipelining = no\n", "", facts{}, want{fleet.GradeWarn, "out of turn", []string{"smtpd_forbid_unauth_pipelining = yes"}}},
		{"stray line ends", "smuggling", strict + "cleanup_replace_stray_cr_lf = no\n", "", facts{}, want{fleet.GradeFail, "sent on", []string{"cleanup_replace_stray_cr_lf = yes"}}},

		{"never TLS", "starttls", "", "", facts{}, want{fleet.GradeFail, "never uses TLS", []string{"smtp_tls_security_level = may"}}},
		{"never TLS on the service", "starttls", "smtp_tls_security_level = may\n", "smtp unix - - y - - smtp\n  -o smtp_tls_security_level=none\n", facts{},
			want{fleet.GradeFail, "never uses TLS", []string{"smtp/unix/smtp_tls_security_level=may"}}},
		{"8BITMIME thrown away", "8bitmime", "smtp_discard_ehlo_keywords = chunking, 8bitmime\n", "", facts{}, want{fleet.GradeFail, "rewritten after it was signed", []string{"smtp_discard_ehlo_keywords = chunking"}}},
		{"8BITMIME kept", "8bitmime", "", "", facts{}, want{grade: fleet.GradePass}},

		{"open to the world", "open-relay", "mynetworks = 127.0.0.0/8 0.0.0.0/0\n", "", facts{}, want{fleet.GradeFail, "lets 0.0.0.0/0 relay", []string{"mynetworks ="}}},
		{"open to half of IPv6", "open-relay", "mynetworks = 127.0.0.0/8 [2000::]/3\n", "", facts{}, want{fleet.GradeFail, "2000::/3", []string{"mynetworks ="}}},
		{"a table of networks", "open-relay", "mynetworks = 127.0.0.0/8 texthash:/etc/postfix/networks\n", "", facts{}, want{grade: fleet.GradePass}},
		{"nobody takes passwords", "submission", "", "", facts{}, want{grade: fleet.GradeNA}},
		{"passwords in clear", "submission", "smtpd_sasl_auth_enable = yes\n", "", facts{}, want{fleet.GradeFail, "smtp takes passwords in clear", []string{"smtpd_tls_auth_only = yes"}}},
		{"passwords in clear on the submission service", "submission", "", "smtp inet n - y - - smtpd\nsubmission inet n - y - - smtpd\n  -o smtpd_sasl_auth_enable=yes\nsmtp unix - - y - - smtp\n", facts{},
			want{fleet.GradeFail, "submission takes passwords in clear", []string{"smtpd_tls_auth_only = yes"}}},
		{"no TLS", "certificate", "", "", facts{}, want{fleet.GradeNA, "no service offers TLS", []string{"smtpd_tls_chain_files"}}},
	} {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			t.Parallel() // postconf(1) takes its time
			f := c.facts
			f.Postfix, f.Milter, f.SMTP, f.DNS = settings(t, c.main, c.master), []string{socket}, "127.0.0.1:9", resolver()
			expect(t, &f, c.check, c.want)
		})
	}
	t.Run("postconf gives no answer", func(t *testing.T) {
		for _, check := range []string{"milter", "capture", "smuggling", "open-relay", "submission", "certificate", "8bitmime", "starttls", "port25", "helo"} {
			expect(t, &diagnose.Facts{PostfixProblem: "no such directory", DNS: resolver(stub(t, honest(honestZone)))}, check, want{grade: fleet.GradeUnknown, seen: "no such directory"})
		}
	})
}

func captured(service string) string {
	return service + " unix - - y - - smtp\n  -o debug_peer_list=0.0.0.0/0,[::]/0 -o debug_peer_level=1\n"
}
