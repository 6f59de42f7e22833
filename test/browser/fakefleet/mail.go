package fakefleet

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// scenario is a kind of message with how often it comes, of a thousand.
type scenario struct {
	share int
	make  func(*maker, time.Time) (fleet.Message, []fleet.Transcript)
}

var scenarios = []scenario{
	{770, (*maker).sent},
	{50, (*maker).sentClear},
	{30, (*maker).local},
	{40, (*maker).newsletter},
	{40, (*maker).deferred},
	{35, (*maker).bounced},
	{20, (*maker).rejected},
	{6, (*maker).aborted},
	{5, (*maker).held},
	{4, (*maker).hostile},
}

// maker makes the messages of one node.
type maker struct {
	random   *rand.Rand
	node     string
	host     string
	captured bool
}

func (k *maker) message(at time.Time) (fleet.Message, []fleet.Transcript) {
	n := k.random.IntN(1000)
	for _, one := range scenarios {
		if n -= one.share; n < 0 {
			return one.make(k, at)
		}
	}
	return k.sent(at)
}

func pick[T any](k *maker, all []T) T { return all[k.random.IntN(len(all))] }

type peer struct{ domain, host, addr, tls string }

const tls13 = "Trusted TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"

var (
	senders  = []string{"billing@shop.example", "orders@shop.example", "no-reply@shop.example", "alice.meyer@corp.example", "b.okafor@corp.example", "support@corp.example", "newsletter@news.example", "monitoring@ops.example"}
	subjects = []string{"Your order 48213 has shipped", "Invoice 2026-1187", "Re: Contract draft, second reading", "Password reset", "Weekly report: week 47",
		"Rechnung Nr. 20261123 für Ihre Bestellung", "Meeting moved to 15:30", "Übersicht der offenen Posten", "[ops] disk usage above 80 % on db-3", "Fwd: photos from Saturday",
		"Order confirmation", "Η παραγγελία σας", "Welcome aboard!", "Your receipt from shop.example", "Re: Re: Re: quote for 40 chairs", "Lieferung verzögert sich", "Ваш заказ принят"}
	locals = []string{"anna", "j.smith", "info", "office", "m.dubois", "kontakt", "sales", "wei.chen", "maria", "t.jensen"}
	peers  = []peer{
		{"gmail.example", "mx1.gmail.example", "198.51.100.26", tls13}, {"gmail.example", "mx2.gmail.example", "198.51.100.27", tls13},
		{"outlook.example", "outlook-com.mail.protection.example", "203.0.113.36", "Untrusted TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)"},
		{"gmx.example", "mx00.gmx.example", "192.0.2.14", tls13}, {"web.example", "mx-ha02.web.example", "192.0.2.88", tls13},
		{"uni-bonn.example", "mail.uni-bonn.example", "198.51.100.131", tls13}, {"stadtwerke.example", "mx.stadtwerke.example", "203.0.113.9", tls13},
		{"partner.example", "mx.partner.example", "2001:db8:4::25", tls13}, {"law-firm.example", "inbound.law-firm.example", "203.0.113.77", tls13},
	}
	clearPeers = []peer{{"old-erp.example", "erp.old-erp.example", "192.0.2.200", ""}, {"printer.example", "scan.printer.example", "192.0.2.61", ""}}
	stalled    = []struct{ dsn, reply string }{
		{"4.4.1", "connect to mx.slow.example[203.0.113.250]:25: Connection timed out"},
		{"4.7.1", "host mx.grey.example[203.0.113.41] said: 451 4.7.1 Greylisted, please try again in 300 seconds (in reply to RCPT TO command)"},
		{"4.2.2", "host mx00.gmx.example[192.0.2.14] said: 452 4.2.2 Mailbox full (in reply to RCPT TO command)"},
	}
	refusals = []struct{ dsn, reply string }{
		{"5.1.1", "host mx1.gmail.example[198.51.100.26] said: 550 5.1.1 The email account that you tried to reach does not exist (in reply to RCPT TO command)"},
		{"5.7.26", "host mx1.gmail.example[198.51.100.26] said: 550 5.7.26 Unauthenticated email from shop.example is not accepted (in reply to end of DATA command)"},
		{"5.2.1", "host outlook-com.mail.protection.example[203.0.113.36] said: 550 5.2.1 Mailbox cannot be accessed (in reply to RCPT TO command)"},
	}
)

const alphabet = "0123456789ABCDEF"

func (k *maker) queueID() string {
	var b strings.Builder
	for range 10 {
		b.WriteByte(alphabet[k.random.IntN(len(alphabet))])
	}
	return b.String()
}

// base is a message that was taken and signed, without recipients.
func (k *maker) base(at time.Time) fleet.Message {
	sender := pick(k, senders)
	domain := fleet.AddressDomain(sender)
	m := fleet.Message{
		Node: k.node, ID: fleet.MessageIDAt(at), QueueID: k.queueID(), Instance: "postfix", FirstSeen: at, LastChange: at.Add(time.Second),
		Client: fleet.Client{Addr: fmt.Sprintf("10.20.%d.%d", k.random.IntN(4), 10+k.random.IntN(200)), Port: 40000 + k.random.IntN(9000),
			Name: "app" + fmt.Sprint(1+k.random.IntN(6)) + ".corp.example", HELO: "app.corp.example", Proto: "ESMTP", Service: "submission/smtpd",
			TLSVersion: "TLSv1.3", TLSCipher: "TLS_AES_256_GCM_SHA384", TLSBits: 256, AuthUser: strings.Split(sender, "@")[0], AuthMethod: "PLAIN"},
		Source: fleet.SourceAuthenticated, Sender: sender, HeaderFrom: sender, Subject: pick(k, subjects),
		MessageID: strings.ToLower(k.queueID()) + "." + fmt.Sprint(at.Unix()) + "@" + domain, Size: int64(1800 + k.random.IntN(60000)),
		Signatures: []fleet.Signature{{Domain: domain, Selector: k.node, Algorithm: "rsa-sha256"}, {Domain: domain, Selector: k.node, Algorithm: "ed25519-sha256"}},
		Verdict:    fleet.VerdictAccepted, Reply: "250 2.0.0 Ok: queued", Inbound: true, OpenedByLog: true, OpenedByMilter: true,
	}
	if k.random.IntN(5) == 0 {
		m.Size = int64(1+k.random.IntN(24)) * 1_000_000
	}
	if k.random.IntN(6) == 0 {
		m.Client = fleet.Client{Addr: "10.20.9.4", Port: 41022, Name: "erp.corp.example", HELO: "erp", Proto: "ESMTP", Service: "smtpd"}
		m.Source = fleet.SourceNetwork
	}
	return m
}

// try is one attempt, with the delays that such an attempt has.
func (k *maker) try(at time.Time, status, dsn, reply string, to peer) fleet.Attempt {
	parts := []float64{0.02 + k.random.Float64()*0.2, 0.001 + k.random.Float64()*0.02, 0.05 + k.random.Float64()*0.6, 0.08 + k.random.ExpFloat64()*0.7}
	a := fleet.Attempt{ID: fleet.EventID(k.random.Uint64()), Status: status, DSN: dsn, Daemon: "smtp", Reply: reply, Delays: parts, TLS: to.tls}
	for _, part := range parts {
		a.Delay += part
	}
	a.Time = at.Add(time.Duration(a.Delay * float64(time.Second)))
	if to.host != "" {
		a.Relay, a.RelayHost, a.RelayAddr, a.RelayPort = fmt.Sprintf("%s[%s]:25", to.host, to.addr), to.host, to.addr, 25
	} else {
		a.Relay = "none"
	}
	return a
}

func (k *maker) give(m *fleet.Message, address string, status fleet.Status, attempts ...fleet.Attempt) {
	r := fleet.Recipient{Address: address, Status: status, Attempts: attempts, Next: "smtp:" + fleet.AddressDomain(address)}
	if len(attempts) > 0 {
		last := attempts[len(attempts)-1]
		r.DSN, r.Relay, r.Reply = last.DSN, last.Relay, last.Reply
		m.LastChange = last.Time
	}
	m.Recipients = append(m.Recipients, r)
	m.RecipientCount = len(m.Recipients)
	m.HeaderTo = m.Recipients[0].Address
}

func (k *maker) deliver(m *fleet.Message, to peer) {
	id := k.queueID()
	a := k.try(m.FirstSeen, "sent", "2.0.0", "250 2.0.0 Ok: queued as "+id, to)
	a.RemoteID = id
	k.give(m, pick(k, locals)+"@"+to.domain, fleet.StatusDelivered, a)
}

func (k *maker) sent(at time.Time) (fleet.Message, []fleet.Transcript) {
	m := k.base(at)
	k.deliver(&m, pick(k, peers))
	m.Removed = m.LastChange
	return m, k.talk(&m)
}

func (k *maker) sentClear(at time.Time) (fleet.Message, []fleet.Transcript) {
	m := k.base(at)
	k.deliver(&m, pick(k, clearPeers))
	m.Removed = m.LastChange
	return m, k.talk(&m)
}

func (k *maker) local(at time.Time) (fleet.Message, []fleet.Transcript) {
	m := k.base(at)
	m.Client, m.Source, m.Sender, m.Subject = fleet.Client{Service: "pickup", UID: "0"}, fleet.SourceLocal, "root@"+k.host, "Cron <root@"+k.node+"> run-parts /etc/cron.daily"
	m.HeaderFrom, m.Inbound = m.Sender, false
	m.Signatures, m.Unsigned = nil, "no key for "+k.host
	a := k.try(at, "sent", "2.0.0", "delivered to mailbox", peer{})
	a.Daemon, a.Relay = "local", "local"
	k.give(&m, "root@"+k.host, fleet.StatusDelivered, a)
	m.Recipients[0].OrigTo = "root"
	m.Removed = m.LastChange
	return m, nil
}

// newsletter goes to several recipients with several fates.
func (k *maker) newsletter(at time.Time) (fleet.Message, []fleet.Transcript) {
	m := k.base(at)
	m.Sender, m.HeaderFrom, m.Subject = "newsletter@news.example", "News <newsletter@news.example>", "The November issue is out"
	m.Signatures = []fleet.Signature{{Domain: "news.example", Selector: k.node, Algorithm: "rsa-sha256"}}
	for range 2 + k.random.IntN(9) {
		k.deliver(&m, pick(k, peers))
	}
	if k.random.IntN(2) == 0 {
		why := pick(k, refusals)
		k.give(&m, "gone@gmail.example", fleet.StatusBounced, k.try(at, "bounced", why.dsn, why.reply, peers[0]))
		m.Links = []fleet.Link{{Kind: fleet.LinkBounce, QueueID: k.queueID()}}
	}
	m.Removed = m.LastChange
	return m, k.talk(&m)
}

func (k *maker) deferred(at time.Time) (fleet.Message, []fleet.Transcript) {
	m := k.base(at)
	why := pick(k, stalled)
	to := peer{"slow.example", "mx.grey.example", "203.0.113.41", tls13}
	if strings.HasPrefix(why.reply, "connect") {
		to = peer{domain: "slow.example"}
	}
	var attempts []fleet.Attempt
	for i := range 1 + k.random.IntN(4) {
		a := k.try(at.Add(time.Duration(i*i)*5*time.Minute), "deferred", why.dsn, why.reply, to)
		a.Delay += float64(i*i) * 300
		a.Delays[1] += float64(i*i) * 300
		attempts = append(attempts, a)
	}
	if time.Since(at) > 6*time.Hour {
		good := k.try(at.Add(3*time.Hour), "sent", "2.0.0", "250 2.0.0 Ok: queued as "+k.queueID(), peer{"slow.example", "mx.slow.example", "203.0.113.250", tls13})
		good.Delay += 10800
		good.Delays[1] += 10800
		k.give(&m, pick(k, locals)+"@slow.example", fleet.StatusDelivered, append(attempts, good)...)
		m.Removed = m.LastChange
		return m, k.talk(&m)
	}
	k.give(&m, pick(k, locals)+"@slow.example", fleet.StatusDeferred, attempts...)
	return m, k.talk(&m)
}

func (k *maker) bounced(at time.Time) (fleet.Message, []fleet.Transcript) {
	m := k.base(at)
	why := pick(k, refusals)
	to := peers[0]
	if strings.Contains(why.reply, "outlook") {
		to = peers[2]
	}
	k.give(&m, pick(k, locals)+"."+fmt.Sprint(k.random.IntN(90))+"@"+to.domain, fleet.StatusBounced, k.try(at, "bounced", why.dsn, why.reply, to))
	m.Links = []fleet.Link{{Kind: fleet.LinkBounce, QueueID: k.queueID()}}
	m.Removed = m.LastChange
	return m, k.talk(&m)
}

func (k *maker) rejected(at time.Time) (fleet.Message, []fleet.Transcript) {
	m := k.base(at)
	m.QueueID, m.Signatures, m.Unsigned, m.Verdict = "", nil, "", fleet.VerdictRejected
	m.Client = fleet.Client{Addr: "203.0.113.66", Port: 51200, HELO: "win-4f2k", Proto: "ESMTP", Service: "smtpd"}
	m.Source, m.Sender, m.Subject, m.MessageID, m.HeaderFrom, m.Size = fleet.SourceExternal, "prize@lottery.example", "", "", "", 0
	m.Reply = "554 5.7.1 <anna@elsewhere.example>: Relay access denied"
	m.Recipients = []fleet.Recipient{{Address: "anna@elsewhere.example", Status: fleet.StatusRejected, Refused: true, DSN: "5.7.1", Reply: m.Reply}}
	return m, []fleet.Transcript{k.inbound(&m)}
}

func (k *maker) aborted(at time.Time) (fleet.Message, []fleet.Transcript) {
	m := k.base(at)
	m.Signatures, m.Verdict, m.Subject, m.MessageID, m.Reply = nil, fleet.VerdictAborted, "", "", ""
	m.Removed, m.RemovedBy = at.Add(30*time.Second), fleet.LeftCanceled
	return m, []fleet.Transcript{k.inbound(&m)}
}

func (k *maker) held(at time.Time) (fleet.Message, []fleet.Transcript) {
	m := k.base(at)
	m.Held = true
	m.Recipients = []fleet.Recipient{{Address: "everybody@corp.example", Status: fleet.StatusHeld}}
	return m, []fleet.Transcript{k.inbound(&m)}
}

// Hostile is text with everything in it that a sender may try on a reader.
const Hostile = "<script>alert(1)</script> \"quoted\" & gpj.\u202eexe \x00\x07\x1b[31m\u200b\u2066hidden\u2069 \xff\xfe"

func (k *maker) hostile(at time.Time) (fleet.Message, []fleet.Transcript) {
	m, _ := k.sent(at)
	m.Subject = Hostile
	m.HeaderFrom = "\"<img src=x onerror=alert(2)>\u202e\" <" + m.Sender + ">"
	m.Client.HELO = "<b>helo</b>\x01"
	m.Recipients[0].Attempts[0].Reply = "250 \u202e2.0.0 <svg/onload=alert(3)> Ok: " + strings.Repeat("long ", 60)
	m.Recipients[0].Reply = m.Recipients[0].Attempts[0].Reply
	return m, k.talk(&m)
}
