package node

import (
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/config"
)

// ConsulOptions are the settings of either daemon's configuration as the Consul client takes them.
func ConsulOptions(c *config.Consul, log *zap.Logger, registerer prometheus.Registerer) consul.Options {
	return consul.Options{
		Address:    c.Address,
		Datacenter: c.Datacenter,
		TokenFile:  string(c.TokenFile),
		CAFile:     string(c.CAFile),
		CertFile:   string(c.CertFile),
		KeyFile:    string(c.KeyFile),
		ServerName: c.ServerName,
		Wait:       c.Wait.Std(),
		Log:        log.Named("consul"),
		Registerer: registerer,
	}
}

func newConsulClient(c *config.Consul, o *Options) (*consul.Client, error) {
	client, err := consul.NewClient(ConsulOptions(c, o.Log, o.Registry))
	if err != nil {
		return nil, &ConfigError{err}
	}
	return client, nil
}

// services are what this host has to register: the node API, where there is one, and the mail service. Their ids carry
// the node's name, so that several nodes can share one agent.
func (n *Node) services() []consul.Service {
	c := n.live.Load().config
	var list []consul.Service
	if n.api != nil {
		host, port := hostPort(string(c.API.Address), portOf(n.api.Addr()))
		list = append(list, consul.Service{
			ID:      c.Consul.APIService + "-" + n.name,
			Name:    c.Consul.APIService,
			Address: host,
			Port:    port,
			Meta:    n.apiMeta(c),
			Check:   loopbackURL(n.status.address(), "/healthz"),
		})
	}
	if c.Consul.MailService != "" {
		host, port := hostPort(string(c.Node.MailAddress), smtpPort)
		mail := consul.Service{
			ID:      c.Consul.MailService + "-" + n.name,
			Name:    c.Consul.MailService,
			Address: host,
			Port:    port,
			Tags:    c.Consul.MailTags,
			Meta:    map[string]string{consul.MetaNode: n.name},
			Weight:  c.Consul.Weight,
			Check:   loopbackURL(n.status.address(), "/healthz/mail"),

			CheckEvery: mailCheckEvery,
		}
		list = append(list, mail)
		if c.Consul.ProxyPort != 0 {
			list = append(list, proxyService(&c.Consul, mail))
		}
	}
	return list
}

// apiMeta is what the service of the node API says of the node.
func (n *Node) apiMeta(c *config.Milter) map[string]string {
	meta := consul.NodeMeta(n.identity(n.o.Now()))
	if hop := n.hopAddress(c); hop != "" {
		meta[consul.MetaHop] = hop
	}
	return meta
}

const smtpPort = 25

// mailCheckEvery is how often Consul's agent asks whether the node can take mail.
const mailCheckEvery = 3 * time.Second

// hostPort cuts a configured address; where it says nothing, the host is left to Consul's agent and the port is the one
// given.
func hostPort(address string, otherwise int) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", otherwise
	}
	port, err = strconv.Atoi(text)
	if err != nil {
		port = otherwise
	}
	return host, port
}

func portOf(address net.Addr) int {
	if tcp, ok := address.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}
