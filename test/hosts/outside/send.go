package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// Sent is a line of what send prints: one mail that a server took.
type Sent struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Server string    `json:"server"`
	Tries  int       `json:"tries"`
}

// send sends mails at a steady pace to a name with several addresses, and goes on to the next address, or waits and tries
// again, as RFC 5321 section 5.1 asks for. It ends when all are taken; ctx only stops new ones.
func send(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	name := flags.String("name", "", "name of the servers, or an address")
	resolver := flags.String("dns", "", "address of the name server")
	port := flags.Int("port", 25, "port of the servers")
	count := flags.Int("count", 1, "mails; 0: until stopped")
	every := flags.Duration("every", 200*time.Millisecond, "pace")
	prefix := flags.String("id", "load", "what the ids begin with")
	sender := flags.String("from", "ann@fleet.example", "envelope and header sender")
	if err := flags.Parse(args); err != nil {
		return err
	}
	tick := time.NewTicker(*every)
	defer tick.Stop()
	out := json.NewEncoder(os.Stdout)
	for n := 1; (*count == 0 || n <= *count) && ctx.Err() == nil; n++ {
		id := *prefix + "-" + strconv.Itoa(n)
		sent, err := deliver(*name, *resolver, *port, *sender, id)
		if err != nil {
			return err
		}
		if err := out.Encode(sent); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

const patience = 90 * time.Second

func deliver(name, resolver string, port int, sender, id string) (*Sent, error) {
	var last error
	tries := 0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		servers, err := addresses(name, resolver)
		if err != nil {
			last = err
			continue
		}
		for _, server := range servers {
			tries++
			if last = transmit(net.JoinHostPort(server, strconv.Itoa(port)), sender, id); last == nil {
				return &Sent{id, time.Now(), server, tries}, nil
			}
		}
	}
	return nil, fmt.Errorf("mail %s not taken within %s and %d tries: %w", id, patience, tries, last)
}

func addresses(name, resolver string) (list []string, err error) {
	if net.ParseIP(name) != nil {
		return []string{name}, nil
	}
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), dns.TypeA)
	client := dns.Client{Timeout: 2 * time.Second}
	answer, _, err := client.Exchange(query, net.JoinHostPort(resolver, "53"))
	if err != nil {
		return nil, err
	}
	for _, record := range answer.Answer {
		if a, ok := record.(*dns.A); ok {
			list = append(list, a.A.String())
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no address (%s)", name, dns.RcodeToString[answer.Rcode])
	}
	return list, nil
}

func transmit(server, sender, id string) error {
	conn, err := net.DialTimeout("tcp", server, 5*time.Second)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	client, err := smtp.NewClient(conn, "outside.example")
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Hello("outside.example"); err != nil {
		return err
	}
	if err := client.Mail(sender); err != nil {
		return err
	}
	if err := client.Rcpt("bob@outside.example"); err != nil {
		return err
	}
	body, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(body, "From: %s\r\nTo: bob@outside.example\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@fleet.example>\r\n\r\nhello\r\n",
		sender, id, time.Now().Format(time.RFC1123Z), id); err != nil {
		return err
	}
	return body.Close()
}
