package ha

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
)

// readKeys takes up the DKIM records of a node, as its administrator would publish them.
func (s *site) readKeys(ctx context.Context, n *node) error {
	out, err := s.Run(ctx, binary, "dkim", "dns", "--keys-dir", n.keys, "--selector", n.name, "--json")
	if err != nil {
		return err
	}
	var records []struct{ Name, Text string }
	if err := json.Unmarshal(out, &records); err != nil {
		return fmt.Errorf("read DKIM records of %s: %w", n.name, err)
	}
	for _, record := range records {
		s.records[record.Name] = record.Text
	}
	return nil
}

var (
	selectorTag  = regexp.MustCompile(`\bs=\s*([^;\s]+)`)
	algorithmTag = regexp.MustCompile(`\ba=\s*([^;\s]+)`)
)

// signers are the nodes whose keys signed a mail, sorted. Every signature has to verify, and none may be there twice.
// The selectors of a node are NAME and NAME-ed25519.
func (s *site) signers(content []byte) ([]string, error) {
	verifications, err := dkim.VerifyWithOptions(bytes.NewReader(content), &dkim.VerifyOptions{
		MaxVerifications: 10,
		LookupTXT: func(name string) ([]string, error) {
			if record, ok := s.records[name]; ok {
				return []string{record}, nil
			}
			return nil, fmt.Errorf("no record for %s", name)
		},
	})
	if err != nil {
		return nil, err
	}
	message, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	var nodes []string
	seen := map[string]bool{}
	for i, header := range message.Header["Dkim-Signature"] { // in the order of the verifications
		selector, algorithm := selectorTag.FindStringSubmatch(header), algorithmTag.FindStringSubmatch(header)
		if selector == nil || algorithm == nil {
			return nil, fmt.Errorf("a signature without selector or algorithm: %s", header)
		}
		if err := verifications[i].Err; err != nil {
			return nil, fmt.Errorf("signature by %s: %w", selector[1], err)
		}
		key := selector[1] + " " + algorithm[1]
		if seen[key] {
			return nil, fmt.Errorf("two signatures by %s", key)
		}
		seen[key] = true
		if node := strings.TrimSuffix(selector[1], "-ed25519"); !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes, nil
}
