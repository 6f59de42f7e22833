package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/node"
)

const milterConfig = "/etc/postfleet/milter.yaml"

func newMilter() *cobra.Command {
	return daemonCommand(&cobra.Command{
		Use:   "milter",
		Short: "Run the node daemon: sign and record this Postfix's mail, follow its log",
		Long: `Run the node daemon: sign and record this Postfix's mail, follow its log.

SIGTERM finishes running messages and ends; SIGHUP reads configuration and keys again, and refuses bad ones.`,
		Example: "  postfleet milter --config /etc/postfleet/milter.yaml",
	}, milterConfig, runMilter)
}

func runMilter(path string) error {
	c, err := config.LoadMilter(path)
	if err != nil {
		return usageError{err}
	}
	return runDaemon(c.Log, func(log *zap.Logger, level zap.AtomicLevel) (service, time.Duration, error) {
		n, err := node.New(c, node.Options{Version: version, Log: log})
		if errors.As(err, new(*node.ConfigError)) {
			err = usageError{err}
		}
		return &nodeService{Node: n, path: path, log: log, level: level}, c.Milter.DrainTimeout.Std(), err
	})
}

// nodeService is a node that reads its configuration file again.
type nodeService struct {
	*node.Node
	path  string
	log   *zap.Logger
	level zap.AtomicLevel
}

// Reload implements service.
func (s *nodeService) Reload() error {
	c, err := config.LoadMilter(s.path)
	if err != nil {
		return err
	}
	if err := s.Node.Reload(c); err != nil {
		return err
	}
	setLevel(s.log, s.level, c.Log.Level)
	return nil
}
