package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commands are all that do something themselves.
func commands(of *cobra.Command) (all []*cobra.Command) {
	for _, sub := range of.Commands() {
		all = append(all, commands(sub)...)
	}
	if !of.HasSubCommands() {
		all = append(all, of)
	}
	return all
}

// Every command says what it is for, with examples that it would take.
func TestHelp(t *testing.T) {
	for _, cmd := range commands(newRoot()) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
				t.Errorf("short description %q", cmd.Short)
			}
			if cmd.Example == "" {
				t.Error("no example")
			}
			for line := range strings.Lines(cmd.Example) {
				_, call, found := strings.Cut(line, "postfleet ")
				if !found {
					t.Errorf("example %q", line)
					continue
				}
				checkExample(t, cmd, call)
			}
			status, out, problems := command("", append(strings.Fields(cmd.CommandPath())[1:], "--help")...)
			if status != exitDone || problems != "" || !strings.Contains(out, "Usage:") || !strings.Contains(out, "Examples:") {
				t.Errorf("--help: status %d, %q, %q", status, out, problems)
			}
		})
	}
}

// checkExample takes the flags and counts the arguments of one line of an example, up to where the shell's part begins.
func checkExample(t *testing.T, cmd *cobra.Command, call string) {
	t.Helper()
	var words []string
	for _, word := range strings.Fields(call) {
		if word == "|" || word == "&&" || strings.HasPrefix(word, ">") {
			break
		}
		words = append(words, strings.Trim(word, "'"))
	}
	found, rest, err := newRoot().Find(words)
	if err != nil || found.CommandPath() != cmd.CommandPath() {
		t.Errorf("%q is not a call of it: %v", call, err)
		return
	}
	if err := found.ParseFlags(rest); err != nil {
		t.Errorf("%q: %v", call, err)
		return
	}
	if err := found.ValidateArgs(found.Flags().Args()); err != nil {
		t.Errorf("%q: %v", call, err)
	}
}

// Every command that prints data prints it as JSON too; those that don't are named here.
func TestJSON(t *testing.T) {
	without := map[string]bool{
		"postfleet aggregator": true, "postfleet milter": true, // daemons
		"postfleet replay":   true, // JSON always
		"postfleet pki init": true, "postfleet token add": true, "postfleet token remove": true,
		"postfleet user add": true, "postfleet user passwd": true, "postfleet user role": true, "postfleet user remove": true,
	}
	for _, cmd := range commands(newRoot()) {
		if has := cmd.Flags().Lookup("json") != nil; has == without[cmd.CommandPath()] {
			t.Errorf("%s: has --json: %v", cmd.CommandPath(), has)
		}
	}
}
