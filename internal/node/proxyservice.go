package node

import (
	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
)

// proxySuffix makes the name of the service that HAProxy asks for out of the mail service's.
const proxySuffix = "-proxy"

// proxyService is the mail service once more, at the port where Postfix takes connections with a PROXY header: such a port
// takes no others, so it can't be among the answers for the mail service.
func proxyService(c *config.NodeConsul, mail consul.Service) consul.Service {
	mail.ID = c.MailService + proxySuffix + mail.ID[len(c.MailService):]
	mail.Name = c.MailService + proxySuffix
	mail.Port = c.ProxyPort
	mail.Weight = haproxyWeight(c.Weight)
	return mail
}

// HAProxy takes the weight of an SRV record divided by 256 and rounded up, since its own go to 256 only: small weights would
// all be 1.
const (
	haproxyScale   = 256
	haproxyHighest = 255
)

func haproxyWeight(weight int) int { return min(weight, haproxyHighest) * haproxyScale }
