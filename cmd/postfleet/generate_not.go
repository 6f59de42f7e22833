//go:build !generate

package main

import "github.com/spf13/cobra"

// atBuild are the commands that only a binary for the build has.
func atBuild() []*cobra.Command { return nil }
