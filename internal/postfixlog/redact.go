package postfixlog

// redacted stands for what must not be kept.
const redacted = "[redacted]"

// verb is a command of the SMTP client, as far as it matters here.
type verb int

const (
	verbUnknown verb = iota // nothing that Postfix says outside of AUTH
	verbHello               // EHLO, HELO, LHLO
	verbMail
	verbRecipient
	verbReset
	verbQuit
	verbAuth
	verbOther // DATA, BDAT, ".", STARTTLS, XFORWARD, …
)

func verbOf(said []byte) verb {
	word, _, _ := cut(said, " ")
	switch string(word) {
	case "EHLO", "HELO", "LHLO":
		return verbHello
	case "MAIL":
		return verbMail
	case "RCPT":
		return verbRecipient
	case "RSET":
		return verbReset
	case "QUIT":
		return verbQuit
	case "AUTH":
		return verbAuth
	case "DATA", "BDAT", ".", "STARTTLS", "XFORWARD", "NOOP", "VRFY":
		return verbOther
	}
	return verbUnknown
}

// redactCommand is what is kept of a command. Of AUTH only the mechanism is; the lines that follow it, and any line that
// isn't a command of Postfix' (an AUTH that began before the log did), are left out.
func (k *talk) redactCommand(v verb, said []byte) string {
	switch {
	case v == verbAuth:
		k.auth = true
		mechanism, rest, initial := cut(said[len("AUTH"):], " ")
		if initial && len(mechanism) == 0 {
			mechanism, _, initial = cut(rest, " ")
		}
		if initial {
			return "AUTH " + string(mechanism) + " " + redacted
		}
		return "AUTH " + string(mechanism)
	case v == verbUnknown, k.auth && v != verbHello && v != verbMail:
		return redacted
	}
	k.auth = false
	return string(said)
}

// redactReply is what is kept of a reply: of a challenge (RFC 4954 section 4) only its code.
func (k *talk) redactReply(said []byte) string {
	if begins(said, "334") {
		return "334 " + redacted
	}
	if k.auth && len(said) >= 4 && said[3] == ' ' {
		k.auth = false // the outcome
	}
	return string(said)
}
