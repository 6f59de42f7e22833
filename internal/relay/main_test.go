package relay

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = zap.NewNop()

func registry() prometheus.Registerer { return prometheus.NewRegistry() }
