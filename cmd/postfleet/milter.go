package main

import (
	"errors"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/node"
)

const milterConfig = "/etc/postfleet/milter.yaml"

func newMilter() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "milter",
		Short: "Run the node daemon: sign and record this Postfix's mail, follow its log",
		Long: `Run the node daemon: sign and record this Postfix's mail, follow its log.

SIGTERM finishes running messages and ends; SIGHUP reads configuration and keys again, and refuses bad ones.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runMilter(path) },
	}
	cmd.Flags().StringVarP(&path, "config", "c", milterConfig, "configuration file")
	return cmd
}

func runMilter(path string) error {
	c, err := config.LoadMilter(path)
	if err != nil {
		return usageError{err}
	}
	log, level, err := newLogger(c.Log)
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = log.Sync() }() // standard error can't be synced everywhere
	n, err := node.New(c, node.Options{Version: version, Log: log})
	if err != nil {
		if errors.As(err, new(*node.ConfigError)) {
			return usageError{err}
		}
		return err
	}
	s := &nodeService{Node: n, path: path, log: log, level: level}
	return serve(log, s, c.Milter.DrainTimeout.Std()+stopMargin)
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
