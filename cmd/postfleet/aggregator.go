package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator"
	"github.com/postfleet/postfleet/internal/config"
)

const aggregatorConfig = "/etc/postfleet/aggregator.yaml"

func newAggregator() *cobra.Command {
	return daemonCommand(&cobra.Command{
		Use:   "aggregator",
		Short: "Run the fleet's web page and JSON API",
		Long: `Run the fleet's web page and JSON API.

SIGTERM finishes running requests and ends; SIGHUP reads the configuration again, and refuses a bad one.`,
		Example: "  postfleet aggregator --config /etc/postfleet/aggregator.yaml",
	}, aggregatorConfig, runAggregator)
}

func runAggregator(path string) error {
	c, err := config.LoadAggregator(path)
	if err != nil {
		return usageError{err}
	}
	return runDaemon(c.Log, func(log *zap.Logger, level zap.AtomicLevel) (service, time.Duration, error) {
		hostname, err := os.Hostname()
		if err != nil {
			return nil, 0, fmt.Errorf("host name: %w", err)
		}
		s, err := newAggregatorService(c, aggregatorOptions{hostname: hostname, log: log})
		if err != nil {
			if errors.Is(err, aggregator.ErrNoUsers) || errors.As(err, new(setupError)) {
				err = usageError{err}
			}
			return nil, 0, err
		}
		s.reread = func() (*config.Aggregator, error) { return config.LoadAggregator(path) }
		s.reloaded = func(c *config.Aggregator) { setLevel(log, level, c.Log.Level) }
		return s, c.HTTP.DrainTimeout.Std(), nil
	})
}
