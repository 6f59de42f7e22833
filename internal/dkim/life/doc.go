// Package life decides which of a node's DKIM keys sign: it keeps where each key is in its life, in a file that outlives the
// daemon, and moves keys on as DNS, the calendar and administrators allow.
//
// What DNS says and which keys other nodes have is told to it ([Life.Observe], [Life.Step]); it asks nobody. Every change is
// one rename of one file, so a kill at any moment leaves the state before the change or the state after it, and a step that
// fails leaves the old key signing. Daemon and commands may change the state at once: a lock on a file orders them.
package life
