// Package consul holds tests of package consul against a real Consul server: agents that restart and forget, servers
// that go away, ACLs with the policies of docs/consul.md, certificates of the Connect CA and the rotation of its root.
package consul
