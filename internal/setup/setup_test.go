package setup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const master = `# a comment that stays
smtp       inet  n       -       y       -       -       smtpd
submission inet  n       -       y       -       -       smtpd
  -o syslog_name=postfix/submission
%s
pickup     unix  n       -       y       60      1       pickup
cleanup    unix  n       -       y       -       0       cleanup
qmgr       unix  n       -       n       300     1       qmgr
rewrite    unix  -       -       y       -       -       trivial-rewrite
smtp       unix  -       -       y       -       -       smtp
relay      unix  -       -       y       -       -       smtp
        -o syslog_name=postfix/$service_name
lmtp       unix  -       -       y       -       -       lmtp
`

const socket = "unix:postfleet/milter.sock"

var relay = &Relay{Map: "socketmap:unix:postfleet/map.sock:relay", Services: []Service{
	{"postfleet-hop", "unix", "postfleet-hop unix - - y - - smtp -o syslog_name=postfix/postfleet-hop"},
	{"127.0.0.1:10026", "inet", "127.0.0.1:10026 inet n - y - - smtpd -o content_filter=postfleet-carry:"},
	{"postfleet-carry", "unix", "postfleet-carry unix - - y - - smtp -o smtp_fallback_relay= -o {best_mx_transport=retry:4.4.6 It is here}"},
}}

// configuration writes one and gives its directory.
func configuration(t *testing.T, main, options string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": main, "master.cf": strings.Replace(master, "%s\n", options, 1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	age(t, dir)
	return dir
}

func TestWireAndUnwire(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		main, options string
		want          Wanted
		has           []string          // lines of postconf -n and -P afterwards
		values        map[string]string // of postconf -x -h
		notes         int
	}{
		"nothing there yet": {
			main: "# mine\nmyhostname = mx1.example.com\nmilter_default_action = accept\n",
			want: Wanted{Milter: socket, Capture: CaptureAuto},
			has: []string{"smtpd_milters = { " + socket + ", default_action=tempfail }", "non_smtpd_milters = { " + socket + ", default_action=tempfail }",
				"smtp/unix/debug_peer_list = 0.0.0.0/0,[::]/0", "relay/unix/debug_peer_level = 1"},
		},
		"a service with milters of its own, and one that lets mail pass": {
			main:    "milter_default_action = accept\n",
			options: "  -o smtpd_milters=inet:127.0.0.1:8892\n",
			want:    Wanted{Milter: socket, Capture: CaptureOff},
			has:     []string{"submission/inet/smtpd_milters = inet:127.0.0.1:8892,{" + socket + ",default_action=tempfail}"},
		},
		"other milters stay, and come first": {
			main: "smtpd_milters = inet:127.0.0.1:8891\n  { inet:127.0.0.1:11332, default_action=accept }\nnon_smtpd_milters = $smtpd_milters\nmilter_default_action = tempfail\n",
			want: Wanted{Milter: socket, Capture: CaptureOff},
			has: []string{"smtpd_milters = inet:127.0.0.1:8891 { inet:127.0.0.1:11332, default_action=accept }, " + socket,
				"non_smtpd_milters = $smtpd_milters"},
		},
		"a service with milters of its own": {
			main:    "milter_default_action = tempfail\n",
			options: "  -o smtpd_milters=inet:127.0.0.1:8892\n",
			want:    Wanted{Milter: socket, Capture: CaptureOff},
			has:     []string{"submission/inet/smtpd_milters = inet:127.0.0.1:8892," + socket},
		},
		"a service that wants none": {
			main:    "milter_default_action = tempfail\n",
			options: "  -o smtpd_milters=\n",
			want:    Wanted{Milter: socket, Capture: CaptureOff},
			has:     []string{"submission/inet/smtpd_milters ="},
			notes:   1,
		},
		"relay passwords": {
			main:  "smtp_sasl_password_maps = texthash:/etc/postfix/secrets\nmilter_default_action = tempfail\n",
			want:  Wanted{Milter: socket, Capture: CaptureAuto},
			has:   []string{"smtpd_milters = " + socket},
			notes: 1,
		},
		"relay passwords, and captured all the same": {
			main:  "smtp_sasl_password_maps = texthash:/etc/postfix/secrets\n",
			want:  Wanted{Milter: socket, Capture: CaptureOn},
			has:   []string{"smtp/unix/debug_peer_list = 0.0.0.0/0,[::]/0"},
			notes: 1,
		},
		"relaying": {
			main: "sender_dependent_default_transport_maps = hash:/etc/postfix/by-sender\n",
			want: Wanted{Milter: socket, Capture: CaptureOff, Relay: relay},
			has: []string{"sender_dependent_default_transport_maps = hash:/etc/postfix/by-sender, " + relay.Map,
				"postfleet-hop/unix/syslog_name = postfix/postfleet-hop", "127.0.0.1:10026/inet/content_filter = postfleet-carry:",
				"postfleet-carry/unix/best_mx_transport = retry:4.4.6 It is here"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := configuration(t, test.main, test.options)
			before := shown(t, dir)
			plan, err := Wire(t.Context(), dir, test.want)
			if err != nil {
				t.Fatal(err)
			}
			if len(plan.Notes) != test.notes {
				t.Errorf("notes: %q", plan.Notes)
			}
			write(t, plan)
			after := shown(t, dir)
			for _, line := range test.has {
				if !strings.Contains(after, line+"\n") {
					t.Errorf("without %q:\n%s", line, after)
				}
			}
			again, err := Wire(t.Context(), dir, test.want)
			if err != nil || len(again.Files) != 0 {
				t.Errorf("a second time: %v\n%s", err, again.Diff())
			}
			undo, err := Unwire(t.Context(), dir, test.want)
			if err != nil {
				t.Fatal(err)
			}
			write(t, undo)
			if diff := cmp.Diff(before, shown(t, dir)); diff != "" {
				t.Errorf("undone (-before +after):\n%s", diff)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "master.cf")); err != nil || !strings.Contains(string(text), "# a comment that stays\n") {
				t.Errorf("comments are gone: %v\n%s", err, text)
			}
		})
	}
}

// What somebody added after us stays when ours is taken out.
func TestUnwireLeavesWhatCameLater(t *testing.T) {
	t.Parallel()
	dir := configuration(t, "smtpd_milters = inet:127.0.0.1:1, { "+socket+", default_action=tempfail }, inet:127.0.0.1:2\n", "")
	plan, err := Unwire(t.Context(), dir, Wanted{Milter: socket})
	if err != nil {
		t.Fatal(err)
	}
	write(t, plan)
	if text := shown(t, dir); !strings.Contains(text, "smtpd_milters = inet:127.0.0.1:1, inet:127.0.0.1:2\n") {
		t.Error(text)
	}
}

// A service that is there gets the options that it lacks, an empty one too, and keeps those that it has.
func TestServicesAreCompleted(t *testing.T) {
	t.Parallel()
	dir := configuration(t, "milter_default_action = tempfail\n",
		"127.0.0.1:10026 inet n - n - - smtpd\n  -o content_filter=mine:\n  -o smtpd_timeout=60s\n")
	want := Wanted{Milter: socket, Capture: CaptureOff, Relay: &Relay{Map: relay.Map, Services: []Service{{"127.0.0.1:10026", "inet",
		"127.0.0.1:10026 inet n - n - - smtpd -o content_filter=postfleet-carry: -o smtpd_proxy_filter= -o mynetworks=0.0.0.0/0,[::]/0" +
			" -o {smtpd_banner=with blanks} -o syslog_name=${multi_instance_name?{$multi_instance_name}:{postfix}}"}}}}
	plan, err := Wire(t.Context(), dir, want)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "content_filter=mine:") {
		t.Errorf("notes: %q", plan.Notes)
	}
	write(t, plan)
	after := shown(t, dir)
	for _, line := range []string{"content_filter = mine:", "smtpd_timeout = 60s", "smtpd_proxy_filter =", "mynetworks = 0.0.0.0/0,[::]/0", "smtpd_banner = with blanks",
		"syslog_name = ${multi_instance_name?{$multi_instance_name}:{postfix}}"} {
		if !strings.Contains(after, "127.0.0.1:10026/inet/"+line) {
			t.Errorf("without %q:\n%s", line, after)
		}
	}
	if again, err := Wire(t.Context(), dir, want); err != nil || len(again.Files) != 0 {
		t.Errorf("a second time: %v\n%s", err, again.Diff())
	}
}

// shown is what Postfix reads: parameters that are set, and the options of master.cf.
func shown(t *testing.T, dir string) string {
	t.Helper()
	var text strings.Builder
	for _, flag := range []string{"-n", "-P", "-M"} {
		out, err := exec.CommandContext(t.Context(), "postconf", "-c", dir, flag).Output()
		if err != nil {
			t.Fatal(err)
		}
		text.Write(out)
	}
	return text.String()
}

// write makes the change without asking a Postfix.
func write(t *testing.T, p *Plan) {
	t.Helper()
	for _, file := range p.Files {
		if err := replace(file.Path, file.After); err != nil {
			t.Fatal(err)
		}
	}
	age(t, p.Dir)
}

// age makes the files old enough for postconf to read them at once; see settle.
func age(t *testing.T, dir string) {
	t.Helper()
	if err := (&scratch{dir: dir}).settle(); err != nil {
		t.Fatal(err)
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]string{
		"":                   nil,
		" , ":                nil,
		"a":                  {"a"},
		"a,b c\n\td":         {"a", "b", "c", "d"},
		"{ a, b } c":         {"{ a, b }", "c"},
		"x,{a{b c},d},{e":    {"x", "{a{b c},d}", "{e"},
		"}a, b":              {"}a", "b"},
		"inet:h:1,  unix:/s": {"inet:h:1", "unix:/s"},
	} {
		if diff := cmp.Diff(want, elements(list)); diff != "" {
			t.Errorf("%q:\n%s", list, diff)
		}
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{"": "", "a, b": "a,b", "{ a, b=c } d": "{a,b=c},d"} {
		if got := compact(list); got != want {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}

func TestReplaceKeepsModeOwnerAndLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target, link := filepath.Join(dir, "real"), filepath.Join(dir, "main.cf")
	if err := os.WriteFile(target, []byte("a"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := replace(link, []byte("b")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v %v", info, err)
	}
	info, err = os.Stat(target)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 2 {
		t.Errorf("left behind: %v %v", list, err)
	}
}
