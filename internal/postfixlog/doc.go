// Package postfixlog reads Postfix' log: lines in, [fleet.Event] out. It does no I/O and has no clock of its own; fed the
// same lines, it comes to the same events under the same identities.
//
// A [Tracker] reads a line in three steps: the header (stamp, program, process id, queue id), one function for the
// program that wrote it, and, where a line says nothing without its neighbours, the memory of what the same process said
// before. Two programs need that memory: smtpd, whose TLS line comes before the queue id, and the SMTP client, whose
// conversation (debug_peer_list in postconf(5)) carries no queue id at all and belongs to the status line that follows.
//
// # From log to repository
//
// The follower's loop belongs to whoever owns both ends. For each batch of lines:
//
//	for _, line := range batch.Lines {
//		tracker.Feed(line)
//	}
//	events := tracker.Flush()
//	err := repository.AppendLog(batch.Cursor, tracker.Snapshot(), events) // one transaction
//
// and at start [Tracker.Restore] with the stored snapshot, before the source resumes at the stored cursor. Cursor,
// snapshot and events must commit together: then a kill at any moment loses nothing and doubles nothing, because the
// lines behind the cursor are read again by a tracker that knows what it knew the first time.
//
// # Identity
//
// An event's identity is a hash of the instance and the whole line, stamp included, so reading a log twice gives the same
// identities. Traditional stamps tell only the second, so two deliveries can log the same line twice: the same address
// given twice in one message, refused twice within the second. Such repetitions are told apart by counting them, among
// the status lines of one second. A log that is read from its middle could miss the first of two equal lines, and then
// takes the second for the first; nothing else would be read differently.
//
// # Secrets
//
// While a conversation is captured, Postfix also logs what it looks up, relay passwords in clear text among it. Of what
// the SMTP client logs, only the lines listed in this package are kept; AUTH exchanges are redacted before they leave
// the tracker; and no line of the SMTP client becomes a sample of unknown lines.
package postfixlog
