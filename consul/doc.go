// Package consul is postfleet's part in Consul, always through the agent of the host: it registers this host's services
// and keeps them registered ([Registrar]), knows the nodes of the fleet ([Members]), and holds the certificate that the
// Connect CA gives a service ([Leaf]).
//
// Consul may be away at any time, at start too. Nothing here waits for it: members and certificates that were known last
// stay, over a restart of postfleet as well, and everything catches up by itself when Consul is back.
package consul
