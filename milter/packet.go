package milter

import (
	"bytes"
	"net/netip"
	"strings"
)

// The packets that an MTA sends (SMFIC_… in libmilter's mfdef.h): four bytes of length, a code, data.
const (
	packetNegotiate = 'O'
	packetMacro     = 'D'
	packetConnect   = 'C'
	packetHelo      = 'H'
	packetMail      = 'M'
	packetRcpt      = 'R'
	packetData      = 'T'
	packetHeader    = 'L'
	packetEOH       = 'N'
	packetBody      = 'B'
	packetEOM       = 'E'
	packetAbort     = 'A'
	packetUnknown   = 'U'
	packetQuit      = 'Q'
	packetQuitNew   = 'K'
)

// Sizes of packets, code included. Postfix sends bodies in pieces of 64 KiB and header fields up to header_size_limit.
const (
	lengthSize = 4
	maxPacket  = 1<<20 + 1
	maxText    = 64 << 10 // commands and macros
	minOffer   = 12       // version, actions, protocol
)

// fault says why a packet can't be passed on. Its values are the label of a metric.
type fault string

const (
	faultNone      fault = ""
	faultLength    fault = "length"    // zero, or above the limit of its kind
	faultCode      fault = "code"      // no such packet
	faultForm      fault = "form"      // data not as the protocol has it
	faultOrder     fault = "order"     // not at this point of a conversation
	faultSlow      fault = "slow"      // began and wasn't finished in time
	faultTruncated fault = "truncated" // the connection ended inside
)

// limitOf is the largest packet of a kind; zero for a kind that doesn't exist.
func limitOf(code byte) int {
	switch code {
	case packetHeader, packetBody:
		return maxPacket
	case packetNegotiate, packetMacro, packetConnect, packetHelo, packetMail, packetRcpt, packetUnknown:
		return maxText
	case packetData, packetEOH, packetEOM, packetAbort, packetQuit, packetQuitNew:
		return 1
	}
	return 0
}

// hasText tells whether a packet's data must be seen before it is passed on. Bodies are any bytes.
func hasText(code byte) bool { return code != packetBody && limitOf(code) > 1 }

// checkForm holds a packet's data against the protocol, so that nothing reaches the library that it slices without looking.
func checkForm(code byte, data []byte) fault {
	ok := true
	switch code {
	case packetNegotiate:
		ok = len(data) >= minOffer
	case packetConnect:
		ok = validConnect(data)
	case packetHelo, packetMail, packetRcpt, packetUnknown:
		ok = terminated(data)
	case packetHeader:
		ok = terminated(data) && bytes.Count(data, []byte{0}) == 2
	case packetMacro:
		ok = len(data) == 1 || len(data) > 1 && terminated(data[1:]) && bytes.Count(data[1:], []byte{0})%2 == 0
	}
	if !ok {
		return faultForm
	}
	return faultNone
}

func terminated(data []byte) bool { return len(data) > 0 && data[len(data)-1] == 0 }

// validConnect: host name, NUL, address family, and unless that is U: port in two bytes, address, NUL.
func validConnect(data []byte) bool {
	at := bytes.IndexByte(data, 0)
	if at < 0 || at+1 == len(data) {
		return false
	}
	family, rest := data[at+1], data[at+2:]
	if family == 'U' {
		return true
	}
	if len(rest) < 3 || !terminated(rest) {
		return false
	}
	address, _, _ := strings.Cut(string(rest[2:]), "\x00")
	switch family {
	case 'L':
		return true
	case '4':
		ip, err := netip.ParseAddr(address)
		return err == nil && ip.Is4()
	case '6':
		address = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(address, "IPv6:"), "["), "]")
		ip, err := netip.ParseAddr(address)
		return err == nil && ip.Is6() && ip.Zone() == ""
	}
	return false
}

// course follows a conversation, so that packets come only where the protocol has them:
//
//	O ( C H* ( M R* T? L* N? B* (E|A) )* K )* Q, with macros (D), U and A in between
type course struct {
	negotiated bool
	connected  bool
	last       byte // of the message under way; zero between messages
}

// stages of a message in their order.
var stages = [256]int8{packetMail: 1, packetRcpt: 2, packetData: 3, packetHeader: 4, packetEOH: 5, packetBody: 6, packetEOM: 7}

// inMessage tells whether a message is under way: from MAIL to its end or abort.
func (c *course) inMessage() bool { return c.last != 0 }

// step takes the next packet.
func (c *course) step(code byte) fault {
	if (code == packetNegotiate) == c.negotiated {
		return faultOrder
	}
	switch code {
	case packetNegotiate:
		c.negotiated = true
	case packetConnect:
		if c.inMessage() {
			return faultOrder
		}
		c.connected = true
	case packetQuitNew:
		c.connected, c.last = false, 0
	case packetHelo, packetMail:
		if !c.connected {
			return faultOrder
		}
		c.last = 0
		if code == packetMail {
			c.last = code
		}
	case packetAbort, packetQuit:
		c.last = 0
	case packetRcpt, packetData, packetHeader, packetEOH, packetBody, packetEOM:
		if !c.inMessage() || stages[code] < stages[c.last] || stages[code] == stages[c.last] && !repeats(code) {
			return faultOrder
		}
		c.last = code
		if code == packetEOM {
			c.last = 0
		}
	}
	return faultNone
}

func repeats(code byte) bool { return code == packetRcpt || code == packetHeader || code == packetBody }
