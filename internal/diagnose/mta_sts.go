package diagnose

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/postfleet/postfleet/internal/fleet"
)

var mtaSTS = Check{
	Name: "mta-sts", Title: "MTA-STS policy", Group: GroupPolicy, Needs: []Need{NeedResolver, NeedDomains},
	Why: "With it other servers refuse to hand your mail to somebody who strips TLS (RFC 8461). Advice where there is none; a broken policy keeps mail from reaching you.",
	Run: func(ctx context.Context, f *Facts) (parts []fleet.Part) {
		for _, domain := range f.Domains {
			parts = append(parts, stsOf(ctx, f, domain))
		}
		return parts
	},
}

var stsRecord = policyRecord{name: "MTA-STS", version: "v=STSv1", void: "RFC 8461 section 3.1"}

// stsID finds the id in a record (RFC 8461 section 3.1).
var stsID = regexp.MustCompile(`;[ \t]*id[ \t]*=[ \t]*[A-Za-z0-9]{1,32}[ \t]*(;|$)`)

func stsOf(ctx context.Context, f *Facts, domain string) fleet.Part {
	if p := takesNoMail(ctx, f, domain); p != nil {
		return *p
	}
	at := "_mta-sts." + domain
	line := at + `. IN TXT "v=STSv1; id=1"`
	found, ended := stsRecord.find(ctx, f, domain, line, at)
	if ended != nil {
		return *ended
	}
	p := part(domain, fleet.GradeWarn, "%s has no MTA-STS policy", domain)
	p.Evidence = lines(found.asked)
	url := "https://mta-sts." + domain + "/.well-known/mta-sts.txt"
	p.Mend = []string{"Publish the policy at " + url + " and then:", line}
	switch {
	case found.text == "":
		return p
	case !stsID.MatchString(found.text):
		p.Grade, p.Seen = fleet.GradeFail, "the record of "+domain+" has no id of 1 to 32 letters and digits: nobody looks for the policy"
		return p
	case f.HTTP == nil:
		return part(domain, fleet.GradeNA, "the record is there; the policy is not fetched")
	}
	return f.policy(ctx, p, domain, url)
}

// policy fetches a policy and holds it against the domain's servers.
func (f *Facts) policy(ctx context.Context, p fleet.Part, domain, url string) fleet.Part {
	text, err := f.fetch(ctx, url)
	var untrue *untrueError
	switch {
	case errors.As(err, &untrue):
		p.Grade, p.Seen = fleet.GradeFail, "the policy can't be used: "+untrue.Error()
		p.Mend = []string{"Serve the policy as text at " + url + ", with a certificate for mta-sts." + domain + ", and without a redirect."}
		return p
	case err != nil:
		q := *unknown(domain, "the policy at "+url+" could not be fetched from here: "+err.Error())
		q.Evidence = p.Evidence
		return q
	}
	policy := readPolicy(text)
	p.Evidence = append(p.Evidence, strings.Split(strings.TrimSpace(string(text)), "\n")...)
	mx := f.DNS.Ask(ctx, domain, dns.TypeMX)
	p.Evidence = append(p.Evidence, mx.String())
	var out []string
	for _, rr := range mx.Records {
		if host, ok := rr.(*dns.MX); ok && !policy.covers(strings.TrimSuffix(host.Mx, ".")) {
			out = append(out, strings.TrimSuffix(host.Mx, "."))
		}
	}
	p.Mend = nil
	switch {
	case policy.wrong != "":
		p.Grade, p.Seen = fleet.GradeFail, "the policy is wrong: "+policy.wrong
		p.Mend = []string{"Serve at " + url + ":", "version: STSv1", "mode: testing", "mx: *." + domain, "max_age: 86400"}
	case len(out) > 0:
		p.Grade, p.Seen = fleet.GradeFail, "the policy lacks "+strings.Join(out, ", ")
		if policy.mode != "enforce" {
			p.Grade = fleet.GradeWarn
		}
		p.Mend = []string{"Add to the policy, and change the id in _mta-sts." + domain + ":", "mx: " + strings.Join(out, "\nmx: ")}
	case policy.mode != "enforce":
		p.Grade, p.Seen = fleet.GradeWarn, "the policy's mode is "+policy.mode+": it protects nothing"
		p.Mend = []string{"Once TLS reports show no trouble, set in the policy, and change the id:", "mode: enforce"}
	default:
		p.Grade, p.Seen = fleet.GradePass, "the policy is enforced and covers all servers"
	}
	return p
}

// stsPolicy is a policy file (RFC 8461 section 3.2).
type stsPolicy struct {
	mode  string
	mx    []string
	wrong string
}

func readPolicy(text []byte) (p stsPolicy) {
	values := map[string]string{}
	for scan := bufio.NewScanner(bytes.NewReader(text)); scan.Scan(); {
		name, value, _ := strings.Cut(scan.Text(), ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if name == "mx" {
			p.mx = append(p.mx, value)
		}
		if _, before := values[name]; !before {
			values[name] = value // of a field that is there twice the first counts (RFC 8461 section 3.2)
		}
	}
	age, err := strconv.ParseUint(values["max_age"], 10, 32)
	p.mode = values["mode"]
	switch {
	case values["version"] != "STSv1":
		p.wrong = "version is " + strconv.Quote(values["version"]) + ", not STSv1"
	case p.mode != "enforce" && p.mode != "testing" && p.mode != "none":
		p.wrong = "mode is " + strconv.Quote(p.mode) + ", not enforce, testing or none"
	case err != nil || age > 31557600:
		p.wrong = "max_age is " + strconv.Quote(values["max_age"]) + ", not seconds up to a year"
	case len(p.mx) == 0 && p.mode != "none":
		p.wrong = "it names no mx"
	}
	return p
}

// covers matches a host against the patterns; *. stands for one label (RFC 8461 section 4.1).
func (p *stsPolicy) covers(host string) bool {
	for _, pattern := range p.mx {
		if strings.EqualFold(pattern, host) {
			return true
		}
		if parent, wild := strings.CutPrefix(pattern, "*."); wild {
			if _, rest, found := strings.Cut(host, "."); found && strings.EqualFold(rest, parent) {
				return true
			}
		}
	}
	return false
}

// untrueError is a policy that can't be had through its own fault, not the network's.
type untrueError struct{ why string }

func (e *untrueError) Error() string { return e.why }

const maxPolicy = 64 << 10

// fetch gets a policy, asking our resolver for the host.
func (f *Facts) fetch(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var nowhere error
	client := *f.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.Roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			addresses, err := spfResolver{f.DNS}.LookupIPAddr(ctx, host)
			if missing := (*net.DNSError)(nil); errors.As(err, &missing) && missing.IsNotFound {
				nowhere = &untrueError{host + " has no address"}
			}
			for _, addr := range addresses {
				var conn net.Conn
				if conn, err = new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(addr.String(), port)); err == nil {
					return conn, nil
				}
			}
			return nil, err
		}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
		return nil, &untrueError{"the certificate is not good: " + untrusted.Err.Error()}
	}
	if err != nil {
		return nil, errors.Join(nowhere, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, &untrueError{fmt.Sprintf("the server answers %s", answer.Status)}
	}
	return io.ReadAll(io.LimitReader(answer.Body, maxPolicy))
}
