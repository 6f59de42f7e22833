package config

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCanReload(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"nothing", "", nil},
		{"what can change", "dkim: {expire: 7d}\nmilter: {sign_networks: [10.0.0.0/8], transcripts: false}\nprivacy: {headers: [], pseudonymise_after: 30d}\nrepository: {keep_messages: 40d, keep_transcripts: 20d, max_messages_size: 1GiB, max_transcripts_size: 1GiB}\nlog: {level: debug}", nil},
		{"a list", "milter:\n  listen: [{address: '127.0.0.1:8890'}]", []string{"milter.listen"}},
		{"the repository's place", "repository: {dir: /elsewhere, keep_messages: 40d, min_free: 1GiB}", []string{"repository.dir", "repository.min_free"}},
		{"several", "node: {name: b}\nconsul: {enabled: true}\nlog: {format: console}", []string{"node.name", "consul.enabled", "log.format"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := DefaultMilter()
			to, err := ParseMilter("milter.yaml", []byte(c.file))
			if err != nil {
				t.Fatal(err)
			}
			err = CanReload(&from, to)
			var restart *RestartError
			if !errors.As(err, &restart) {
				restart = &RestartError{}
			}
			if diff := cmp.Diff(c.want, restart.Keys); diff != "" || (err == nil) != (c.want == nil) {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}
