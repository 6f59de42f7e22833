// Package fleet is postfleet's vocabulary: messages, recipients, attempts, transcripts, the events that change them, the
// query that finds them, and the facts of a node. Every other package speaks in these types.
//
// It holds no I/O and imports the standard library only. What happens to a message when an event reaches it is decided
// here, in [Message.Apply] and [Choose], so that the repository and `postfleet replay` can't come to different answers.
package fleet
