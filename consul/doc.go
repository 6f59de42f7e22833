// Package consul is postfleet's part in Consul, always through the agent of the host: it registers this host's services
// and keeps them registered ([Registrar]), knows the nodes of the fleet and who of them is fit to take mail ([Members]),
// follows and changes what holds for all ([Settings]), lets nodes tell each other of their DKIM keys ([Keys]), and holds the
// certificate that the Connect CA gives a service ([Leaf]).
//
// Consul may be away at any time, at start too. Nothing here waits for it: members, settings and certificates that were known
// last stay, over a restart of postfleet as well, and everything catches up by itself when Consul is back.
package consul
