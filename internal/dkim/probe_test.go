package dkim

import (
	"errors"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	key, err := Generate(dir, "example.com", "n1", Ed25519, 0)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := New(Options{KeysDir: dir, Node: "n1", Selector: "{node}", Headers: []string{"From"}, LineLimit: DefaultLineLimit})
	if err != nil {
		t.Fatal(err)
	}
	gone := errors.New("gone")
	for _, c := range []struct {
		name   string
		answer []string
		err    error
		good   bool
	}{
		{"its record", []string{key.Record()}, nil, true},
		{"another key", []string{"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}, nil, false},
		{"no answer", nil, gone, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			proofs := signer.Probe(time.Now(), func(name string) ([]string, error) {
				if name != key.RecordName() {
					t.Errorf("asked for %s", name)
				}
				return c.answer, c.err
			})
			if len(proofs) != 1 || proofs[0].Selector != key.Selector || proofs[0].Domain != "example.com" || (proofs[0].Err == nil) != c.good {
				t.Errorf("%+v", proofs)
			}
		})
	}
}
