package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/config"
)

const aggregatorConfig = "/etc/postfleet/aggregator.yaml"

func newAggregator() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "aggregator",
		Short: "Run the fleet's web page and JSON API",
		Long: `Run the fleet's web page and JSON API.

SIGTERM finishes running requests and ends; SIGHUP reads the configuration again, and refuses a bad one.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runAggregator(path) },
	}
	cmd.Flags().StringVarP(&path, "config", "c", aggregatorConfig, "configuration file")
	return cmd
}

func runAggregator(path string) error {
	c, err := config.LoadAggregator(path)
	if err != nil {
		return usageError{err}
	}
	log, level, err := newLogger(c.Log)
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = log.Sync() }() // standard error can't be synced everywhere
	hostname, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	s, err := newAggregatorService(c, aggregatorOptions{hostname: hostname, log: log})
	if err != nil {
		if errors.Is(err, aggregator.ErrNoUsers) || errors.As(err, new(setupError)) {
			return usageError{err}
		}
		return err
	}
	s.reread = func() (*config.Aggregator, error) { return config.LoadAggregator(path) }
	s.reloaded = func(c *config.Aggregator) { setLevel(log, level, c.Log.Level) }
	return serve(log, s, c.HTTP.DrainTimeout.Std()+stopMargin)
}

// setLevel takes over the log level of a new configuration, whose words were checked.
func setLevel(log *zap.Logger, level zap.AtomicLevel, text string) {
	if err := level.UnmarshalText([]byte(text)); err != nil {
		log.Error("log level kept", zap.Error(err))
	}
}
