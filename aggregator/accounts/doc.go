// Package accounts keeps who may use the aggregator: people in a users file (with argon2id password hashes) and programs
// in a tokens file (with token hashes), each with a role. `postfleet user` and `postfleet token` write the files; the
// aggregator only reads them, again whenever they change.
//
// It knows nothing of sessions, HTTP or the audit log.
package accounts
