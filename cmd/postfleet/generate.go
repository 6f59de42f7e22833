//go:build generate

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// atBuild are the commands of a binary that only the build runs. The packages' man pages and shell completions are written
// by the command itself, so that they can't lag behind it, and the installed binary doesn't carry what writes them.
func atBuild() []*cobra.Command { return []*cobra.Command{newGenerate()} }

func newGenerate() *cobra.Command {
	return &cobra.Command{
		Use:   "generate DIR",
		Short: "Write man pages into DIR/man and shell completions into DIR/completion",
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return generate(args[0]) },
	}
}

func generate(dir string) error {
	root := newRoot()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "generate" {
			root.RemoveCommand(cmd)
		}
	}
	root.DisableAutoGenTag = true
	man, completion := filepath.Join(dir, "man"), filepath.Join(dir, "completion")
	for _, sub := range []string{man, completion} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
	}
	made, err := time.Parse(time.RFC3339, os.Getenv("BUILD_TIME"))
	if err != nil {
		return fmt.Errorf("BUILD_TIME, the date of the pages: %w", err)
	}
	header := &doc.GenManHeader{Title: "POSTFLEET", Section: "8", Date: &made, Source: "postfleet " + version, Manual: "System administration"}
	if err := doc.GenManTree(root, header, man); err != nil {
		return err
	}
	for name, write := range map[string]func(string) error{
		"postfleet.bash": func(file string) error { return root.GenBashCompletionFileV2(file, true) },
		"_postfleet":     root.GenZshCompletionFile,
		"postfleet.fish": func(file string) error { return root.GenFishCompletionFile(file, true) },
	} {
		if err := write(filepath.Join(completion, name)); err != nil {
			return err
		}
	}
	return nil
}
