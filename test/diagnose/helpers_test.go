package diagnose

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/node/mta"
)

// readSettings asks the real postconf(1) about a configuration.
func readSettings(t *testing.T, dir, main, master string) (*diagnose.Postfix, error) {
	t.Helper()
	const begin = "compatibility_level = 3.6\nmyhostname = mail.good.test\nqueue_directory = /var/spool/postfix\n"
	if master == "" {
		master = "smtp inet n - y - - smtpd\ncleanup unix n - y - 0 cleanup\nsmtp unix - - y - - smtp\nrelay unix - - y - - smtp\n"
	}
	for name, text := range map[string]string{"main.cf": begin + main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return instance(t, dir)
}

func instance(t *testing.T, conf string) (*diagnose.Postfix, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := mta.New(mta.Options{ConfigDir: conf}).Settings(ctx)
	if err != nil {
		return nil, err
	}
	return diagnose.ParsePostfix(s.Main, s.Master, s.Params)
}

// prover signs with one key, as the node's signer does.
func prover(t *testing.T, key *dkim.Key) func(context.Context, func(string) ([]string, error)) []diagnose.Proof {
	t.Helper()
	dir := filepath.Dir(filepath.Dir(key.Path))
	signer, err := dkim.New(dkim.Options{KeysDir: dir, Node: "x", Selector: key.Selector, Headers: []string{"From"}, LineLimit: dkim.DefaultLineLimit})
	if err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, lookup func(string) ([]string, error)) (proofs []diagnose.Proof) {
		for _, p := range signer.Probe(time.Now(), lookup) {
			proofs = append(proofs, diagnose.Proof(p))
		}
		return proofs
	}
}
