package consul

import (
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// The meta keys of the node API's service. Others read them, so they don't change.
const (
	MetaNode      = "node"
	MetaVersion   = "version"
	MetaRole      = "role"
	MetaMail      = "mail"      // host:port where the node's Postfix takes mail
	MetaSelectors = "selectors" // DOMAIN/SELECTOR, comma-separated
	MetaHop       = "hop"       // host:port where the node takes mail of other nodes; :port at the address of its node API
)

// maxMeta is the longest value that Consul takes.
const maxMeta = 512

// NodeMeta is what the service of a node's API says of the node.
func NodeMeta(info *fleet.NodeInfo) map[string]string {
	meta := map[string]string{MetaNode: info.Name, MetaVersion: info.Version, MetaRole: info.Role}
	if info.MailAddress != "" {
		meta[MetaMail] = info.MailAddress
	}
	if text := selectors(info.Selectors); text != "" {
		meta[MetaSelectors] = text
	}
	return meta
}

// selectors lists as many as fit whole; the node API has them all.
func selectors(list []fleet.Selector) string {
	const more = ",…"
	var text strings.Builder
	seen := map[string]bool{}
	for _, s := range list {
		one := s.Domain + "/" + s.Selector // once, for an RSA and an Ed25519 key
		if seen[one] {
			continue
		}
		seen[one] = true
		if text.Len()+len(",")+len(one)+len(more) > maxMeta {
			text.WriteString(more)
			break
		}
		if text.Len() > 0 {
			text.WriteByte(',')
		}
		text.WriteString(one)
	}
	return text.String()
}
