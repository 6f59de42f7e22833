package fleet

// Signed is what a signer made of one message.
type Signed struct {
	Signatures []Signature
	// Fields are the values of the DKIM-Signature header fields, one for each of Signatures: everything behind the colon,
	// leading space included, lines folded with CRLF, without the last CRLF.
	Fields []string
	// Unsigned says why there is no signature; empty when there is one.
	Unsigned string
	// Refuse is VerdictTempfail or VerdictRejected where the policy doesn't let the message go on like this; Reply is then
	// the SMTP reply, code and enhanced code first.
	Refuse Verdict
	Reply  string
}
