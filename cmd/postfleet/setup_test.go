package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// setup shows, says what it would do, and leaves everything as it is without --yes; with relay.enabled it brings the other
// nodes' way in and out.
func TestSetupShows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main, master := filepath.Join(dir, "main.cf"), filepath.Join(dir, "master.cf")
	write(t, main, "myhostname = mx1.example.com\nqueue_directory = "+dir+"\n")
	write(t, master, "smtp inet n - y - - smtpd\nsmtp unix - - y - - smtp\n")
	config := filepath.Join(dir, "milter.yaml")
	write(t, config, "milter: {listen: [{address: \"unix:"+dir+"/postfleet/milter.sock\"}]}\npostfix: {config_dir: "+dir+", queue_dir: "+dir+
		"}\nrelay: {enabled: true, map: {address: \"unix:"+dir+"/postfleet/map.sock\"}}\n")
	var out, problems bytes.Buffer
	if code := run([]string{"setup", "--config", config, "--json"}, strings.NewReader(""), &out, &problems); code != exitDone {
		t.Fatalf("exit %d: %s", code, problems.String())
	}
	var answer setupAnswer
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	if !answer.Changed || answer.Applied {
		t.Errorf("%+v", answer)
	}
	for _, line := range []string{"+smtpd_milters = unix:postfleet/milter.sock\n", "+sender_dependent_default_transport_maps = socketmap:unix:postfleet/map.sock:relay\n",
		"+postfleet-hop", "+127.0.0.1:10026 inet", "debug_peer_level=1\n"} {
		if !strings.Contains(answer.Diff, line) {
			t.Errorf("no %q in\n%s", line, answer.Diff)
		}
	}
	if text, err := os.ReadFile(main); err != nil || strings.Contains(string(text), "milter") {
		t.Errorf("changed: %v\n%s", err, text)
	}
	out.Reset()
	if code := run([]string{"setup", "--config", config, "--undo"}, strings.NewReader(""), &out, &problems); code != exitDone ||
		out.String() != "nothing of postfleet is in Postfix's configuration\n" {
		t.Errorf("exit %d: %s%s", code, out.String(), problems.String())
	}
	if code := run([]string{"setup", "--config", config, "--capture=maybe"}, strings.NewReader(""), &out, &problems); code != exitUsage {
		t.Errorf("exit %d", code)
	}
}

// A node that relays no more must not leave Postfix asking a map that nobody serves, whichever way postfleet goes.
func TestSetupWhenRelayingIsOff(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		flag     string
		services bool // they go too
	}{"set up": {"--undo=false", false}, "undone": {"--undo", true}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			const table = "sender_dependent_default_transport_maps = socketmap:unix:postfleet/map.sock:relay\n"
			write(t, filepath.Join(dir, "main.cf"), "queue_directory = "+dir+"\n"+table)
			write(t, filepath.Join(dir, "master.cf"), "smtp unix - - y - - smtp\npostfleet-carry unix - - n - - smtp\n")
			config := filepath.Join(dir, "milter.yaml")
			write(t, config, "milter: {listen: [{address: \"unix:"+dir+"/postfleet/milter.sock\"}]}\npostfix: {config_dir: "+dir+", queue_dir: "+dir+
				"}\nrelay: {enabled: false, map: {address: \"unix:"+dir+"/postfleet/map.sock\"}}\n")
			var out, problems bytes.Buffer
			if code := run([]string{"setup", "--config", config, "--capture=off", test.flag}, strings.NewReader(""), &out, &problems); code != exitDone {
				t.Fatalf("exit %d: %s", code, problems.String())
			}
			if !strings.Contains(out.String(), "\n-"+table) {
				t.Errorf("the map stays:\n%s", out.String())
			}
			if gone := strings.Contains(out.String(), "\n-postfleet-carry"); gone != test.services {
				t.Errorf("service taken out: %t, want %t\n%s", gone, test.services, out.String())
			}
		})
	}
}

// write makes a file that is old enough for Postfix's tools to read it without waiting (dict_load_file_xt in its dict.c).
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
}
