// Package mta tells the facts of the Postfix instance on this host: its version, how much is in its queue, whether its
// SMTP client logs whole conversations, and whether it answers. It only ever reads.
package mta
