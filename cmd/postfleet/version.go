package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/postfleet/postfleet/internal/dkim"
)

// version is set at link time: -ldflags "-X main.version=…".
var version = "0.0.0-dev"

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Print the version of postfleet and of Go, the system, and what makes RSA signatures here: the system's libcrypto, or Go at a
third of its speed.`,
		Example: "  postfleet version --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"version": version, "go": runtime.Version(), "rsa": dkim.RSALibrary()})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "postfleet %s (%s %s/%s, RSA by %s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, dkim.RSALibrary())
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
