package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/postfleet/postfleet/internal/config"
)

// service is a daemon between its start and its end.
type service interface {
	// Start returns when the daemon is ready. What ends it before Stop goes to failed.
	Start(failed func(error)) error
	// Reload takes the new configuration, or refuses it and goes on as before.
	Reload() error
	// Stop finishes what is under way and gives up the rest when ctx ends.
	Stop(ctx context.Context) error
}

// stopMargin is what is left, beyond the time for running work, to close the rest.
const stopMargin = 10 * time.Second

// daemonCommand adds to a daemon's command what is the same for all.
func daemonCommand(cmd *cobra.Command, defaultConfig string, run func(path string) error) *cobra.Command {
	var path string
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(*cobra.Command, []string) error { return run(path) }
	configFlag(cmd, &path, defaultConfig, "configuration file")
	return cmd
}

// runDaemon runs what build makes until it ends. build also says how long running work has at the end.
func runDaemon(c config.Log, build func(*zap.Logger, zap.AtomicLevel) (service, time.Duration, error)) error {
	log, level, err := newLogger(c)
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = log.Sync() }() // standard error can't be synced everywhere
	s, drain, err := build(log, level)
	if err != nil {
		return err
	}
	return serve(log, s, drain+stopMargin)
}

// serve runs a daemon until SIGTERM or SIGINT, reloads it on SIGHUP, and tells systemd about it all. stopWithin bounds
// the end.
func serve(log *zap.Logger, s service, stopWithin time.Duration) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	failures := make(chan error, 1)
	failed := func(err error) {
		select {
		case failures <- err:
		default: // the first one ends the daemon already
		}
	}
	if err := s.Start(failed); err != nil {
		return err
	}
	notify(log, sd.SdNotifyReady)
	alive := watchdog(log)
	defer alive.Stop()
	for {
		select {
		case <-alive.C:
			notify(log, sd.SdNotifyWatchdog)
		case err := <-failures:
			log.Error("stopping: a part of the daemon failed", zap.Error(err))
			return stop(log, s, stopWithin, err)
		case got := <-signals:
			if got != syscall.SIGHUP {
				log.Info("stopping", zap.Stringer("signal", got))
				return stop(log, s, stopWithin, nil)
			}
			reload(log, s)
		}
	}
}

func reload(log *zap.Logger, s service) {
	notify(log, sd.SdNotifyReloading)
	state := "STATUS=running"
	if err := s.Reload(); err != nil {
		log.Error("new configuration refused; the old one stays", zap.Error(err))
		state = "STATUS=running with the configuration from before: the new one was refused, see the log"
	} else {
		log.Info("configuration reloaded")
	}
	notify(log, sd.SdNotifyReady+"\n"+state)
}

func stop(log *zap.Logger, s service, within time.Duration, cause error) error {
	notify(log, sd.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		if cause == nil {
			return err
		}
		log.Error("not everything stopped in order", zap.Error(err))
	}
	if cause == nil {
		log.Info("stopped")
	}
	return cause
}

// notify tells systemd a state; without systemd it does nothing.
func notify(log *zap.Logger, state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		log.Warn("systemd not told", zap.String("state", state), zap.Error(err))
	}
}

// watchdog ticks at half of what systemd allows between signs of life; never, when it watches nothing.
func watchdog(log *zap.Logger) *time.Ticker {
	allowed, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog setting not understood", zap.Error(err))
	}
	if err != nil || allowed == 0 {
		ticker := time.NewTicker(time.Hour)
		ticker.Stop()
		return ticker
	}
	return time.NewTicker(allowed / 2)
}

// newLogger logs to standard error. The level can be changed while the daemon runs.
func newLogger(c config.Log) (*zap.Logger, zap.AtomicLevel, error) {
	level, err := zap.ParseAtomicLevel(c.Level)
	if err != nil {
		return nil, level, fmt.Errorf("log level: %w", err)
	}
	settings := zap.NewProductionConfig()
	settings.Level, settings.Encoding = level, c.Format
	settings.Sampling = nil // parts that others can make talk sample for themselves
	settings.DisableStacktrace = true
	settings.DisableCaller = true
	settings.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	settings.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	log, err := settings.Build()
	return log, level, err
}

// setLevel takes over the log level of a new configuration, whose words were checked.
func setLevel(log *zap.Logger, level zap.AtomicLevel, text string) {
	if err := level.UnmarshalText([]byte(text)); err != nil {
		log.Error("log level kept", zap.Error(err))
	}
}
