// Package lab runs the real things that the acceptance tests, the demo and the benchmarks need, on loopback and below one
// temporary directory: Postfix instances, smtp-sink servers, recording taps, a Consul agent, and postfleet itself.
//
// It is not a test framework: everything returns errors, so that a program can use it, and [ForTest] adapts it to a test.
// Whatever a Lab started is ended by process id when the Lab is closed, and also when the program that opened the Lab is
// killed: a shell process, the leash, notices that and does the same.
//
// Addresses in 127.0.0.0/9 belong to the fleet (they are Postfix's mynetworks); 127.128.0.0/9 is the outside world, from
// where a message arrives as from a stranger.
package lab
