// Package dnspublish knows which DNS records a fleet needs, asks whether they are there, writes them down in the forms that
// administrators take (text, zone file, JSON, nsupdate script), and puts them into a zone by dynamic update (RFC 2136) signed
// with TSIG (RFC 8945).
//
// An answer that is none (a timeout, SERVFAIL, a resolver that lies about what it knows) is an error here and never "there is
// no record". Updates carry what they found before as a condition, so that nothing is changed that isn't as it was, and
// nothing is ever removed but records that were published by the fleet.
package dnspublish
