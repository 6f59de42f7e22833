package fakefleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postfleet/postfleet/internal/fleet"
)

// ride is a mail that another node carries: what the carrier makes of it, and how much of that the origin knows.
type ride struct {
	Origin, Carrier string
	Subject         string
	To              []string // recipients; the first decides the destination
	Failover        bool     // the origin tries first; otherwise balance
	Failed          []string // what the origin met before it handed the mail over, in Postfix's words
	Tries           []try    // the carrier's
	Untold          bool     // the carrier has not told the origin yet
	Forged          bool     // the carrier's message under that id is of another mail
}

// try is an attempt of the carrier's.
type try struct {
	status, dsn, reply string
	to                 peer
}

const (
	greylisting  = "host mx.grey.example[203.0.113.41] said: 451 4.7.1 Greylisted, please try again in 300 seconds (in reply to RCPT TO command)"
	unknownUser  = "host mx1.gmail.example[198.51.100.26] said: 550-5.1.1 The email account that you tried to reach does not exist. Please try 550-5.1.1 double-checking the recipient's email address for typos or 550 5.1.1 unnecessary spaces. (in reply to RCPT TO command)"
	refusedThere = "connect to mx.partner.example[2001:db8:4::25]:25: Connection refused"
	blockedHere  = "host mx.partner.example[203.0.113.25] refused to talk to me: 554 5.7.1 Service unavailable; Client host [203.0.113.11] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/203.0.113.11"
)

var (
	taken      = try{"sent", "2.0.0", "250 2.0.0 Ok: queued as 7F3A1C09", peers[7]}
	takenClear = try{"sent", "2.0.0", "250 2.0.0 Ok: queued as 5520E1", clearPeers[0]}
	grey       = try{"deferred", "4.7.1", greylisting, peer{"grey.example", "mx.grey.example", "203.0.113.41", tls13}}
	noUser     = try{"bounced", "5.1.1", unknownUser, peers[0]}
	evil       = try{"bounced", "5.7.1", "host mx.evil.example[203.0.113.66] said: 550 5.7.1 blocked using <b>bl.evil.example</b> " + Hostile,
		peer{"evil.example", "mx.evil.example\u202e<script>", "203.0.113.66", ""}}
)

// rides are one of each kind, oldest first.
var rides = []ride{
	{Origin: "mx1", Carrier: "mx2", Subject: "Carried by turn", To: []string{"anna@partner.example"}, Tries: []try{taken}},
	{Origin: "mx1", Carrier: "mx3", Subject: "Carried by turn, in clear", To: []string{"office@old-erp.example"}, Tries: []try{takenClear}},
	{Origin: "mx1", Carrier: "mx2", Subject: "Carried after a failure", To: []string{"j.smith@partner.example"}, Failover: true,
		Failed: []string{refusedThere, blockedHere}, Tries: []try{taken}},
	{Origin: "mx1", Carrier: "mx2", Subject: "Still under way", To: []string{"info@partner.example"}, Failover: true, Failed: []string{refusedThere}, Untold: true},
	{Origin: "mx2", Carrier: "mx1", Subject: "Waits at the carrier", To: []string{"kontakt@grey.example"}, Tries: []try{grey, grey, grey}},
	{Origin: "mx2", Carrier: "mx1", Subject: "Bounced by the carrier", To: []string{"gone@gmail.example"}, Tries: []try{noUser}},
	{Origin: "mx1", Carrier: "mx3", Subject: "Refused by a hostile server", To: []string{"anna@evil.example"}, Tries: []try{evil}},
	{Origin: "mx1", Carrier: "mx4", Subject: "The carrier is away", To: []string{"sales@partner.example"}, Tries: []try{taken}},
	{Origin: "mx2", Carrier: "mx3", Subject: "Another mail's queue id", To: []string{"maria@partner.example"}, Tries: []try{taken}, Forged: true},
}

// relayed puts the rides into the fleet, each on both its nodes, and one mail that several nodes carry.
func (s *Site) relayed(now time.Time) {
	for i, one := range rides {
		s.Carry(one, now.Add(time.Duration(i-len(rides)-10)*9*time.Second))
	}
	s.many(now.Add(-4 * time.Minute))
}

// Carry puts a ride into the fleet, and answers the origin's message.
func (s *Site) Carry(one ride, at time.Time) fleet.Message {
	k := s.makers[one.Origin]
	m := k.base(at)
	m.Subject, m.ID = one.Subject, fleet.MessageIDAt(at)
	hop := s.hop(one, &m, at.Add(900*time.Millisecond))
	a := k.handed(one, at, hop.QueueID)
	for _, address := range one.To {
		k.give(&m, address, fleet.StatusRelayed, a)
	}
	m.Removed = m.LastChange
	talks := k.talk(&m)
	for i := range talks {
		if talks[i].Direction == fleet.Outbound {
			talks[i].Lines = slices.Insert(talks[i].Lines, 0, failures(one.Failed, talks[i].Started)...)
		}
	}
	if !one.Untold {
		report(&m, &hop)
	}
	if one.Forged {
		hop.MessageID = "somebody.else@elsewhere.example"
	}
	s.Nodes[one.Origin].Put(m, talks...)
	s.Nodes[one.Carrier].Put(hop, s.makers[one.Carrier].talk(&hop)...)
	return m
}

// hop is the carrier's message, with its notice to the sender where it bounced.
func (s *Site) hop(one ride, m *fleet.Message, at time.Time) fleet.Message {
	k := s.makers[one.Carrier]
	hop := k.base(at)
	hop.ID, hop.Sender, hop.HeaderFrom, hop.Subject, hop.MessageID, hop.Size = fleet.MessageIDAt(at), m.Sender, m.HeaderFrom, m.Subject, m.MessageID, m.Size
	hop.Source, hop.Hop = fleet.SourceHop, &fleet.Hop{Origin: one.Origin, QueueID: m.QueueID}
	hop.Client = fleet.Client{Addr: "10.20.0.1" + strings.TrimPrefix(one.Origin, "mx"), Port: 41822, HELO: one.Origin + ".corp.example", Proto: "ESMTP", Service: fleet.HopService + "/smtpd"}
	for _, address := range one.To {
		var attempts []fleet.Attempt
		for i, t := range one.Tries {
			attempts = append(attempts, k.try(at.Add(time.Duration(i*i)*5*time.Minute/10), t.status, t.dsn, t.reply, t.to))
		}
		status := fleet.StatusQueued
		if n := len(one.Tries); n > 0 {
			status = map[string]fleet.Status{"sent": fleet.StatusDelivered, "deferred": fleet.StatusDeferred, "bounced": fleet.StatusBounced}[one.Tries[n-1].status]
		}
		k.give(&hop, address, status, attempts...)
		if status == fleet.StatusBounced {
			notice := s.notice(one.Carrier, &hop)
			hop.Links = []fleet.Link{{Kind: fleet.LinkBounce, QueueID: notice.QueueID, ID: notice.ID}}
		}
	}
	if len(one.Tries) > 0 && hop.Recipients[0].Status != fleet.StatusDeferred {
		hop.Removed = hop.LastChange
	}
	return hop
}

// notice is the bounce that the carrier sends the sender.
func (s *Site) notice(node string, about *fleet.Message) fleet.Message {
	k := s.makers[node]
	at := about.LastChange.Add(200 * time.Millisecond)
	m := k.base(at)
	m.ID, m.Client, m.Source, m.Sender, m.HeaderFrom, m.Subject = fleet.MessageIDAt(at), fleet.Client{Service: "bounce"}, fleet.SourceLocal, "", "", ""
	m.Verdict, m.Signatures, m.Inbound = fleet.VerdictNone, nil, false
	m.Links = []fleet.Link{{Kind: fleet.LinkNoticeOf, QueueID: about.QueueID, ID: about.ID}}
	k.give(&m, about.Sender, fleet.StatusDelivered, k.try(at, "sent", "2.0.0", "250 2.0.0 Ok: queued as 90AB12", peers[6]))
	m.Removed = m.LastChange
	s.Nodes[node].Put(m, k.talk(&m)...)
	return m
}

// handed is the origin's attempt by which the carrier took the mail over.
func (k *maker) handed(one ride, at time.Time, queueID string) fleet.Attempt {
	gate := peer{host: "127.43.0." + fmt.Sprint(10+len(one.Carrier)+int(one.Carrier[2]-'0'))}
	hop := one.Carrier
	if one.Failover {
		gate.host, hop = "127.43.0.1", fleet.AnyCarrier
	}
	gate.addr = gate.host
	a := k.try(at, "sent", "2.0.0", "250 2.0.0 Ok: queued as "+queueID, gate)
	a.Relay, a.RelayPort = fmt.Sprintf("%s[%s]:10029", gate.host, gate.addr), 10029
	a.RemoteID, a.Hop = queueID, hop
	return a
}

func failures(words []string, at time.Time) (lines []fleet.Line) {
	for i, text := range words {
		lines = append(lines, fleet.Line{Time: at.Add(time.Duration(i) * 40 * time.Millisecond), From: fleet.Note, Text: text})
	}
	return lines
}

// report lets the origin know what the carrier made of it, as the nodes do.
func report(m, hop *fleet.Message) {
	for _, h := range m.Handovers() {
		if h.QueueID != hop.QueueID {
			continue
		}
		for _, one := range h.Reports(hop, hop) {
			m.Apply(fleet.NewReported(m, &one))
		}
	}
}

// many is a newsletter that two other nodes carry parts of, while the origin delivers some itself.
func (s *Site) many(at time.Time) {
	k := s.makers["mx1"]
	m := k.base(at)
	m.ID, m.Sender, m.HeaderFrom, m.Subject = fleet.MessageIDAt(at), "newsletter@news.example", "News <newsletter@news.example>", "Over all nodes at once"
	k.deliver(&m, peers[3])
	parts := []ride{
		{Origin: "mx1", Carrier: "mx2", To: []string{"anna@partner.example", "wei.chen@partner.example", "office@partner.example", "maria@partner.example"}, Tries: []try{taken}},
		{Origin: "mx1", Carrier: "mx3", To: []string{"kontakt@grey.example", "info@grey.example"}, Tries: []try{grey, grey}},
		{Origin: "mx1", Carrier: "mx3", To: []string{"gone@gmail.example"}, Tries: []try{noUser}},
	}
	hops := make([]fleet.Message, len(parts))
	for i, one := range parts {
		hops[i] = s.hop(one, &m, at.Add(time.Duration(900+i)*time.Millisecond))
		a := k.handed(one, at, hops[i].QueueID)
		for _, address := range one.To {
			k.give(&m, address, fleet.StatusRelayed, a)
		}
	}
	m.Removed = m.LastChange
	talks := k.talk(&m)
	for i, one := range parts {
		report(&m, &hops[i])
		s.Nodes[one.Carrier].Put(hops[i], s.makers[one.Carrier].talk(&hops[i])...)
	}
	s.Nodes["mx1"].Put(m, talks...)
}
