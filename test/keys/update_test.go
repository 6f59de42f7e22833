package keys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/internal/dkim"
	"github.com/postfleet/postfleet/internal/dnspublish"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

const otherText = "google-site-verification=abc"

// Dynamic updates against a real server: good ones, those that it refuses, and each way in which TSIG can fail.
func TestUpdates(t *testing.T) {
	ctx := lab.Within(t, time.Minute)
	l := lab.ForTest(t)
	bind, err := l.StartBind(ctx, lab.BindOptions{Name: "primary", Keys: []string{"good", "powerless"},
		Zones:  map[string]string{domain: "@ IN TXT \"" + otherText + "\"\nalias IN CNAME elsewhere.example.\nsplit IN TXT \"v=spf1 \" \"-all\"\nsplit IN TXT \"other\"", "other.example": ""},
		Policy: map[string]string{domain: "grant good zonesub TXT;", "other.example": "grant good zonesub TXT;"}})
	if err != nil {
		t.Fatal(err)
	}
	key := func(name string) *dnspublish.TSIG {
		t.Helper()
		key, err := dnspublish.ReadTSIG(bind.KeyFiles[name])
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	stranger, err := l.WriteFile("stranger.key", []byte("key \"stranger\" { algorithm hmac-sha256; secret \"c2VjcmV0c2VjcmV0c2VjcmV0\"; };"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := l.WriteFile("forged.key", []byte("key \"good\" { algorithm hmac-sha256; secret \"c2VjcmV0c2VjcmV0c2VjcmV0\"; };"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	bind.KeyFiles["stranger"], bind.KeyFiles["forged"] = stranger, forged
	name := "n1._domainkey." + domain
	long := "v=DKIM1; k=rsa; p=" + strings.Repeat("A", 400)
	add := []dnspublish.Change{{Name: name, Add: []string{long}}}
	skewed := func(by time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(by) } }
	for _, c := range []struct {
		name    string
		updater dnspublish.Updater
		zone    string
		changes []dnspublish.Change
		want    error
	}{
		{"a key without rights", dnspublish.Updater{Key: key("powerless")}, domain, add, dnspublish.ErrRefused},
		{"no key", dnspublish.Updater{}, domain, add, dnspublish.ErrRefused},
		{"a key that the server doesn't know", dnspublish.Updater{Key: key("stranger")}, domain, add, dnspublish.ErrKey},
		{"another secret", dnspublish.Updater{Key: key("forged")}, domain, add, dnspublish.ErrSecret},
		{"a clock that is behind", dnspublish.Updater{Key: key("good"), Now: skewed(-time.Hour)}, domain, add, dnspublish.ErrClock},
		{"a clock that is ahead", dnspublish.Updater{Key: key("good"), Now: skewed(time.Hour)}, domain, add, dnspublish.ErrClock},
		{"another zone", dnspublish.Updater{Key: key("good")}, "elsewhere.example", add, dnspublish.ErrZone},
		{"something there already", dnspublish.Updater{Key: key("good")}, domain,
			[]dnspublish.Change{{Name: domain, Add: []string{"v=spf1 -all"}}}, dnspublish.ErrChanged},
		{"good", dnspublish.Updater{Key: key("good")}, domain, add, nil},
		{"good again", dnspublish.Updater{Key: key("good")}, domain, add, dnspublish.ErrChanged},
		{"beside others", dnspublish.Updater{Key: key("good")}, domain,
			[]dnspublish.Change{{Name: domain, Before: []string{otherText}, Add: []string{`v=spf1 "\ -all`}}}, nil},
		{"strings that were cut elsewhere", dnspublish.Updater{Key: key("good")}, domain, []dnspublish.Change{{Name: "split." + domain,
			Before: []string{"other", "v=spf1 -all"}, Remove: []string{"v=spf1 -all"}, Add: []string{"v=spf1 ~all"}}}, nil},
		{"not as before", dnspublish.Updater{Key: key("good")}, domain,
			[]dnspublish.Change{{Name: "split." + domain, Before: []string{"v=spf1 -all"}, Remove: []string{"v=spf1 -all"}}}, dnspublish.ErrChanged},
		{"away again", dnspublish.Updater{Key: key("good")}, domain,
			[]dnspublish.Change{{Name: name, Before: []string{long}, Remove: []string{long}}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.updater.Server = bind.Addr
			if err := c.updater.Apply(ctx, c.zone, c.changes); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	updater := dnspublish.Updater{Server: bind.Addr, Key: key("good")}
	if texts, err := updater.Current(ctx, "split."+domain); err != nil || !slices.Equal(slices.Sorted(slices.Values(texts)), []string{"other", "v=spf1 ~all"}) {
		t.Errorf("%q, %v", texts, err)
	}
	texts, err := updater.Current(ctx, domain)
	if err != nil || len(texts) != 2 {
		t.Errorf("%q, %v", texts, err)
	}
	if zone, err := updater.Zone(ctx, name); zone != domain || err != nil {
		t.Errorf("zone %q, %v", zone, err)
	}
	if _, err := updater.Current(ctx, "alias."+domain); err == nil || !strings.Contains(err.Error(), "is an alias of elsewhere.example") {
		t.Errorf("an alias: %v", err)
	}
	prepared, err := updater.Prepare(ctx, &fleet.DNSPlan{Records: []fleet.DNSRecord{
		{Kind: fleet.DNSDMARC, Name: "alias." + domain, Type: "TXT", Value: "v=DMARC1; p=none", Status: fleet.DNSMissing},
		{Kind: fleet.DNSDMARC, Name: "alias." + domain, Type: "TXT", Value: "v=DMARC1; p=none", Status: fleet.DNSThere},
		{Kind: fleet.DNSDMARC, Name: "_dmarc.another.test", Type: "TXT", Value: "v=DMARC1; p=none", Status: fleet.DNSMissing},
		{Kind: fleet.DNSDMARC, Name: "_dmarc." + domain, Type: "TXT", Value: "v=DMARC1; p=none", Status: fleet.DNSMissing}}}, false, dkim.CompareRecord)
	if err != nil {
		t.Fatal(err)
	}
	if len(prepared.Left) != 2 || !strings.Contains(prepared.Left[0].Why, "is an alias of") || !strings.Contains(prepared.Left[1].Why, "doesn't answer for") ||
		len(prepared.Zones) != 1 || len(prepared.Zones[0].Changes) != 1 {
		t.Errorf("what is elsewhere keeps nothing else back: %+v", prepared)
	}
	if err := os.Chmod(stranger, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := dnspublish.ReadTSIG(stranger); err == nil || !strings.Contains(err.Error(), "mode 0644") {
		t.Errorf("a key that others can read: %v", err)
	}
	if err := bind.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := updater.Current(ctx, domain); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a server that is gone: %v", err)
	}
}

// The whole plan, from a running fleet to its zone: shown, tried, done, and then there is nothing left to do. What the zone had
// before is still there.
func TestPublishing(t *testing.T) {
	ctx := lab.Within(t, 2*time.Minute)
	s := startSite(t, ctx, siteOptions{nodes: 2, byHand: true})
	for _, line := range []string{"update add shop.example. 60 TXT \"v=spf1 ip4:198.51.100.7 -all\"", "update add shop.example. 60 TXT \"" + otherText + "\""} {
		if err := s.bind.Update(ctx, "admin", domain, line); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range s.Nodes { // addresses that the world could see
		if err := s.setAddresses(node, "192.0.2."+node.Name[1:], "2001:db8::"+node.Name[1:]); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(node.Stop(), node.Start(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	var before string
	lab.Await(t, ctx, func(ctx context.Context) error {
		var err error
		if before, err = postfleet(ctx, s.env(), "dns"); err == nil && (!strings.Contains(before, "2001:db8::2") || strings.Contains(before, "! ")) {
			err = errors.New(before)
		}
		return err
	})
	for _, want := range []string{"to publish      n1._domainkey.shop.example", "to change       shop.example",
		"v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ip4:192.0.2.2 ip6:2001:db8::2 ip4:198.51.100.7 -all", "to publish      _dmarc.shop.example",
		"advised         _mta-sts.shop.example", "SPF of shop.example takes 0 of 10 look-ups", "could not tell  1.2.0.192.in-addr.arpa"} {
		if !strings.Contains(before, want) {
			t.Errorf("%q is not in:\n%s", want, before)
		}
	}
	diff, err := postfleet(ctx, s.env(), "dns", "--apply", "--dry-run", "--config", s.Aggregator.Config)
	if err != nil || !strings.Contains(diff, "- shop.example. 3600 IN TXT \"v=spf1 ip4:198.51.100.7 -all\"\n+ shop.example. 3600 IN TXT \"v=spf1 ip4:192.0.2.1") {
		t.Errorf("%v: %s", err, diff)
	}
	if texts, err := s.bind.TXT(ctx, "n1._domainkey."+domain); len(texts) > 0 || err != nil {
		t.Errorf("a dry run changed the zone: %q, %v", texts, err)
	}
	if _, err := postfleet(ctx, s.env(), "dns", "--apply", "--config", s.Aggregator.Config); err != nil {
		t.Fatal(err)
	}
	lab.Await(t, ctx, func(ctx context.Context) error {
		again, err := postfleet(ctx, s.env(), "dns", "--apply", "--dry-run", "--config", s.Aggregator.Config)
		if err == nil && again != "" {
			err = errors.New(again)
		}
		return err
	})
	texts, err := s.bind.TXT(ctx, domain)
	want := map[string]bool{otherText: true, "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ip4:192.0.2.2 ip6:2001:db8::2 ip4:198.51.100.7 -all": true}
	got := map[string]bool{}
	for _, text := range texts {
		got[text] = true
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	for _, node := range s.Nodes {
		s.await(t, ctx, node.Name, allActive(node.Name))
	}
	t.Run("by nsupdate", func(t *testing.T) {
		if _, err := postfleet(ctx, s.env(), "dkim", "rotate", "--on", "n1", domain); err != nil {
			t.Fatal(err)
		}
		script, err := postfleet(ctx, s.env(), "dns", "--nsupdate", domain)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.bind.Update(ctx, "admin", domain, strings.Split(script, "\n")...); err != nil {
			t.Fatalf("%v\n%s", err, script)
		}
		s.await(t, ctx, "n1", rotated("n1"))
	})
	t.Run("zone file", func(t *testing.T) {
		zone, err := postfleet(ctx, s.env(), "dns", "--zone")
		if err != nil || !strings.Contains(zone, fmt.Sprintf("%s.\t3600\tIN\tTXT\t\"v=DKIM1; h=sha256; k=rsa; p=", "n2._domainkey."+domain)) {
			t.Errorf("%v\n%s", err, zone)
		}
	})
}
