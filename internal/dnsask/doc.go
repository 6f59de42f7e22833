// Package dnsask asks DNS, and tells an answer from none.
//
// That a name has such a record, and that it has none, are answers. All else (a timeout, SERVFAIL, an answer to another
// question, a referral) is an [Untold] with its reason, so that nobody takes it for the one or the other. Whom to believe is
// the caller's matter: a [Client] asks one server; package dnspublish asks servers in turn and wants the SOA record with a
// negative answer, package diagnose examines servers first and compares what two say.
//
// It is the base that both stand on, and knows nothing else of the project.
package dnsask
