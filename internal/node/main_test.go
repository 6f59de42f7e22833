package node

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// A test that kills a node runs this very binary as one.
const asDaemon = "POSTFLEET_TEST_NODE"

func TestMain(m *testing.M) {
	if path := os.Getenv(asDaemon); path != "" {
		runDaemon(path)
		return
	}
	goleak.VerifyTestMain(m)
}
