// Package spfwalk reads SPF records (RFC 7208) and goes through one and all that it includes, whether an address matches early
// or not: what it costs, what is wrong with it, whom it lets pass, and whether it lets everybody.
//
// It says what holds for every sender at once. What becomes of one mail from one address is not evaluated here.
package spfwalk
