package main

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/postfleet/postfleet/test/lab"
)

const (
	newsletter = "newsletter@shop.example"
	submitter  = "ann@team.example"
)

// way is how a message comes to a node.
type way int

const (
	fromNetwork way = iota
	submitted       // with STARTTLS and a password, from outside
	onHost          // with sendmail(1)
	fromStranger
)

// scene is a kind of message. Weight is how often the trickle sends it.
type scene struct {
	way    way
	weight int
	mail   func(n int) lab.Mail
}

var scenes = []scene{
	{fromNetwork, 8, func(n int) lab.Mail {
		return lab.Mail{From: "orders@shop.example", HeaderFrom: "Shop <orders@shop.example>", To: []string{customer(n)},
			Subject: fmt.Sprintf("Your order %d is on its way", 41000+n), Text: "Thank you for your order.\nIt left us today."}
	}},
	{fromNetwork, 3, func(n int) lab.Mail {
		return lab.Mail{From: newsletter, HeaderFrom: "Shop news <newsletter@shop.example>", Subject: "Neues im November: Gänse, Äpfel, Glühwein",
			To:   []string{customer(n), customer(n + 1), customer(n + 2), "max@greylist.example", "ghost@gone.example", "eva@bank.example"},
			Text: "Schöne Grüße aus dem Laden."}
	}},
	{submitted, 4, func(n int) lab.Mail {
		return lab.Mail{From: submitter, HeaderFrom: "Ann Example <ann@team.example>", To: []string{"eva@bank.example"},
			Subject: fmt.Sprintf("Statement %d, signed", n), Text: "Please find the statement attached.", Attachment: report()}
	}},
	{onHost, 3, func(n int) lab.Mail {
		return lab.Mail{From: "cron@team.example", To: []string{"ops@gallery.example"}, Subject: fmt.Sprintf("Backup %d finished", n), Text: "0 errors"}
	}},
	{fromNetwork, 2, func(int) lab.Mail {
		return lab.Mail{From: "vorstand@verein.example", HeaderFrom: "=?utf-8?q?J=C3=BCrgen?= <vorstand@verein.example>",
			To: []string{"closed@bank.example", "liste@kunde.example"}, Subject: "会議の議事録 – Protokoll der Sitzung ✓", Text: "Protokoll folgt."}
	}},
	{fromNetwork, 2, func(n int) lab.Mail {
		return lab.Mail{From: "orders@shop.example", To: []string{fmt.Sprintf("former%d@gone.example", n%7)}, Subject: "Your invoice", Text: "Invoice"}
	}},
	{fromNetwork, 2, func(n int) lab.Mail {
		return lab.Mail{From: newsletter, To: []string{"someone@strict.example"}, Subject: fmt.Sprintf("%d %% off everything!!!", n%90), Text: "Click now"}
	}},
	{fromNetwork, 1, func(int) lab.Mail {
		return lab.Mail{From: "orders@shop.example", To: []string{"li@flaky.example"}, Subject: "Line drops after DATA", Text: "Hello"}
	}},
	{fromNetwork, 1, func(int) lab.Mail {
		return lab.Mail{From: "orders@shop.example", To: []string{"desk@busy.example", "desk@down.example"}, Subject: "Delivery date", Text: "Hello"}
	}},
	{fromStranger, 1, func(int) lab.Mail {
		return lab.Mail{From: "spam@stranger.example", To: []string{"victim@kunde.example"}, Subject: "relay me", Text: "Hello"}
	}},
	{fromNetwork, 1, func(int) lab.Mail { // a domain without keys must not leave unsigned
		return lab.Mail{From: "new@nokeys.example", To: []string{"eva@bank.example"}, Subject: "First mail of a new domain", Text: "Hello"}
	}},
}

func customer(n int) string {
	names := []string{"alice", "bob", "chloe", "dmitri", "emre", "fatima", "grace", "henrik"}
	domains := []string{"kunde.example", "gallery.example", "bank.example"}
	return names[n%len(names)] + "@" + domains[n%len(domains)]
}

func report() []byte {
	data := make([]byte, 20<<10)
	rand.Read(data)
	return data
}

// traffic sends mail through the nodes in turn.
type traffic struct {
	fleet *lab.Fleet
	sent  int
	bag   []int // scene numbers, each as often as its weight
}

func newTraffic(fleet *lab.Fleet) *traffic {
	t := &traffic{fleet: fleet}
	for i, s := range scenes {
		for range s.weight {
			t.bag = append(t.bag, i)
		}
	}
	return t
}

// burst sends every kind of message through every node.
func (t *traffic) burst(ctx context.Context) error {
	for _, s := range scenes {
		for range t.fleet.Nodes {
			if err := t.send(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// trickle sends until ctx ends. A node that somebody stopped, to see what happens, is no reason to end.
func (t *traffic) trickle(ctx context.Context, every time.Duration) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every/2 + mathrand.N(every)):
		}
		if err := t.send(ctx, scenes[t.bag[mathrand.IntN(len(t.bag))]]); err != nil && ctx.Err() == nil {
			fmt.Println("sending:", err)
		}
	}
}

func (t *traffic) send(ctx context.Context, s scene) error {
	node := t.fleet.Nodes[t.sent%len(t.fleet.Nodes)].Postfix
	t.sent++
	mail := s.mail(t.sent)
	client := lab.Client{}
	switch s.way {
	case onHost:
		return node.Sendmail(ctx, mail)
	case submitted:
		client = lab.Client{From: "127.129.0.7", StartTLS: true, User: submitter, Password: "demo"}
	case fromStranger:
		client.From = "127.129.0.66"
	case fromNetwork:
	}
	_, err := client.Send(ctx, node.Addr, mail)
	return err
}
