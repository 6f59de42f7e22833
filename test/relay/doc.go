// Package relay sends mail through a fleet of real Postfix instances whose nodes hand it over to each other. It has tests and
// nothing else.
package relay
