package node

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// requestFile is how the command on the host asks the daemon for a diagnosis.
const requestFile = "request.json"

// takeRequest reads and removes what the command asks.
func takeRequest(dir string) (request fleet.DiagnoseRequest, asked bool) {
	path := filepath.Join(dir, requestFile)
	text, err := os.ReadFile(path)
	if err != nil || os.Remove(path) != nil {
		return request, false
	}
	err = json.Unmarshal(text, &request)
	request.Cause = fleet.CauseHost
	return request, err == nil
}

// RequestDiagnosis has the daemon whose repository is in dir make a diagnosis. Its id comes back in the diagnosis.
func RequestDiagnosis(dir string, request fleet.DiagnoseRequest) error {
	kept := diagnosesOf(dir)
	if _, err := os.Stat(kept.dir); notThere(err) {
		return errors.New("the daemon has not made a diagnosis here yet")
	}
	return writeJSON(filepath.Join(kept.dir, requestFile), request, 0o644)
}

// FindDiagnosis is the diagnosis that a request led to, or nil while there is none.
func FindDiagnosis(dir, id string) (*fleet.Diagnosis, error) {
	kept := diagnosesOf(dir)
	names, err := kept.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names[:min(len(names), 3)] {
		if one, err := kept.read(name); err == nil && strings.EqualFold(one.Request, id) {
			return one, nil
		}
	}
	return nil, nil
}

// RequestWaits tells whether the daemon has not taken a request up.
func RequestWaits(dir string) bool {
	_, err := os.Stat(filepath.Join(diagnosesOf(dir).dir, requestFile))
	return err == nil
}

// WithdrawRequest takes back a request that nobody took up.
func WithdrawRequest(dir string) { _ = os.Remove(filepath.Join(diagnosesOf(dir).dir, requestFile)) }
