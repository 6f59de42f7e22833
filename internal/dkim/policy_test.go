package dkim

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAuthorDomain(t *testing.T) {
	tests := map[string]struct {
		values []string
		want   string
		err    error
	}{
		"plain":                {[]string{" anna@example.com"}, "example.com", nil},
		"name and angles":      {[]string{" Anna B. <anna@Example.COM>"}, "example.com", nil},
		"folded":               {[]string{" Anna\r\n\t<anna@example.com>\r\n (at home)"}, "example.com", nil},
		"encoded word":         {[]string{" =?koi8-r?q?=C1?= <a@example.com>"}, "example.com", nil},
		"unknown charset":      {[]string{" =?x-none?q?=C1?= <a@example.com>"}, "example.com", nil},
		"quoted at":            {[]string{` "a@evil.example" <a@example.com>`}, "example.com", nil},
		"comment with address": {[]string{" a@example.com (b@evil.example)"}, "example.com", nil},
		"internationalised":    {[]string{" <jürgen@Bücher.example>"}, "xn--bcher-kva.example", nil},
		"dot at the end":       {[]string{" <a@example.com.>"}, "", errBadFrom},
		"none":                 {nil, "", errNoFrom},
		"two fields":           {[]string{" a@example.com", " a@example.com"}, "", errSeveralFrom},
		"two addresses":        {[]string{" a@example.com, b@example.com"}, "", errManyAuthors},
		"group":                {[]string{" friends: a@example.com, b@example.com;"}, "", errManyAuthors},
		"empty group":          {[]string{" nobody:;"}, "", errBadFrom},
		"empty":                {[]string{" "}, "", errBadFrom},
		"no domain":            {[]string{" anna"}, "", errBadFrom},
		"domain literal":       {[]string{" a@[192.0.2.1]"}, "", errBadFrom},
		"broken":               {[]string{" <a@example.com"}, "", errBadFrom},
		"raw Latin-1":          {[]string{" J\xfcrgen <a@example.com>"}, "", errBadFrom},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := authorDomain(test.values)
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %q, %v; want %q, %v", got, err, test.want, test.err)
			}
		})
	}
}

func TestSigningDomain(t *testing.T) {
	ring := &Keyring{domains: map[string][]generation{}}
	for _, domain := range []string{"example.com", "own.example.com", "fallback.example", "late.example"} {
		from := ""
		if domain == "late.example" {
			from = "20261201"
		}
		ring.domains[domain] = []generation{{from, []*Key{{Domain: domain}}}}
	}
	tests := map[string]struct {
		domains, exclude []string
		fallback         string
		author           string
		want             string
		signs            bool
		reason           string
	}{
		"no list, key":                {author: "example.com", want: "example.com", signs: true},
		"no list, no key":             {author: "other.example", reason: "other.example is not a signing domain"},
		"no list, no key, fallback":   {author: "other.example", fallback: "fallback.example", want: "fallback.example", signs: true},
		"no list, key for later":      {author: "late.example", want: "late.example"},
		"exact":                       {domains: []string{"example.com"}, author: "example.com", want: "example.com", signs: true},
		"exact is not its subs":       {domains: []string{"example.com"}, author: "a.example.com", reason: "a.example.com is not a signing domain"},
		"exact without key":           {domains: []string{"nokey.example"}, author: "nokey.example", want: "nokey.example"},
		"no fallback for exact":       {domains: []string{"nokey.example"}, fallback: "fallback.example", author: "nokey.example", want: "nokey.example"},
		"sub signs as its parent":     {domains: []string{".example.com"}, author: "a.b.example.com", want: "example.com", signs: true},
		"sub with its own key":        {domains: []string{".example.com"}, author: "own.example.com", want: "own.example.com", signs: true},
		"subs are not the parent":     {domains: []string{".example.com"}, author: "example.com", reason: "example.com is not a signing domain"},
		"a name that only ends so":    {domains: []string{".example.com"}, author: "badexample.com", reason: "badexample.com is not a signing domain"},
		"any, key":                    {domains: []string{"*"}, author: "example.com", want: "example.com", signs: true},
		"any, no key":                 {domains: []string{"*"}, author: "other.example", want: "other.example"},
		"any, no key, fallback":       {domains: []string{"*"}, fallback: "fallback.example", author: "other.example", want: "fallback.example", signs: true},
		"excluded":                    {domains: []string{"*"}, exclude: []string{"example.com"}, author: "example.com", reason: "example.com is excluded from signing"},
		"excluded from fallback too":  {exclude: []string{".x.example"}, fallback: "fallback.example", author: "a.x.example", reason: "a.x.example is excluded from signing"},
		"exclusion of subs only":      {exclude: []string{".example.com"}, author: "example.com", want: "example.com", signs: true},
		"internationalised, by label": {domains: []string{"bücher.example"}, author: "xn--bcher-kva.example", want: "xn--bcher-kva.example"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := newPolicy(test.domains, test.exclude, test.fallback)
			if err != nil {
				t.Fatal(err)
			}
			domain, keys, reason := p.choose(test.author, ring, fixed)
			if domain != test.want || keys != nil != test.signs || reason != test.reason {
				t.Errorf("got %q, keys %t, %q; want %q, %t, %q", domain, keys != nil, reason, test.want, test.signs, test.reason)
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	day := time.Date(2026, 12, 1, 23, 30, 0, 0, time.FixedZone("", -3600)) // the next day in UTC
	tests := map[string]struct{ text, want, err string }{
		"node":          {"{node}", "mx-1", ""},
		"around":        {"s-{node}-x", "s-mx-1-x", ""},
		"literal":       {"mail", "mail", ""},
		"date":          {"{node}-{date}", "mx-1-20261202", ""},
		"labels":        {"{date}.{node}", "20261202.mx-1", ""},
		"unknown":       {"{month}", "", "expected no other names in braces"},
		"two dates":     {"{date}{date}", "", "expected no other names in braces"},
		"not a name":    {"a b", "", "expected a DNS name"},
		"empty":         {"", "", "expected a DNS name"},
		"dot at an end": {"{node}.", "", "expected a DNS name"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			template, err := ParseTemplate(test.text, "MX-1")
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, template.Selector(day)); diff != "" {
				t.Error(diff)
			}
			if from, ok := template.match(test.want); !ok || from != "" && from != "20261202" {
				t.Errorf("its own selector doesn't match: %q, %t", from, ok)
			}
			if _, ok := template.match("mx-2"); ok {
				t.Error("another node's selector matches")
			}
		})
	}
}

func FuzzAuthorDomain(f *testing.F) {
	for _, seed := range []string{" Anna <a@example.com>", " =?utf-8?q?x?= <a@b>", " a@b, c@d", " \"a\r\n b\" <x@[1.2.3.4]>", " (((a)b) c@d", " g: a@b;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		domain, err := authorDomain([]string{value})
		if err == nil && checkDomain(domain) != nil {
			t.Fatalf("%q gives %q, which can't stand in d=", value, domain)
		}
	})
}
