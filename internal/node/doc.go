// Package node puts a node daemon together: the milter with its signer, the repository, the follower of Postfix's log,
// the node API, the status listener and the registration in Consul. It starts them in the order in which they need each
// other, hands a new configuration to them, and stops them in reverse.
//
// Parts know each other through small interfaces that they declare; this is where those meet.
package node
