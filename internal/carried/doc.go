// Package carried brings to the node where a mail entered the fleet what became of it on the node that carries it.
//
// The origin asks; a carrier never calls. [Puller] is the origin's side: it goes by what the repository holds of mail that
// another node took over and hasn't said its last word on, so it goes on after a restart, and makes up for a carrier's
// absence, without a memory of its own. [Answerer] is the carrier's side: it answers a node about the mail of that node
// alone. Who asks whom is known by certificate; that is the node API's work.
package carried
