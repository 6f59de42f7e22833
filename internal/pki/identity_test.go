package pki

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSchemes(t *testing.T) {
	connect := ConnectScheme("postfleet-node", "postfleet")
	const domain = "spiffe://7f42f496-fbc7-8692-05ed-334aa5340c1e.consul"
	for _, tc := range []struct {
		name   string
		scheme Scheme
		uri    string
		want   Identity // zero: nobody
	}{
		{"node", FleetScheme, "spiffe://postfleet/node/mx1.example.com", Identity{Node, "mx1.example.com"}},
		{"aggregator", FleetScheme, "spiffe://postfleet/aggregator/web", Identity{Aggregator, "web"}},
		{"other domain", FleetScheme, "spiffe://example.com/aggregator/web", Identity{}},
		{"other role", FleetScheme, "spiffe://postfleet/admin/web", Identity{}},
		{"no name", FleetScheme, "spiffe://postfleet/aggregator/", Identity{}},
		{"deeper", FleetScheme, "spiffe://postfleet/aggregator/web/x", Identity{}},
		{"query", FleetScheme, "spiffe://postfleet/aggregator/web?x=1", Identity{}},
		{"user", FleetScheme, "spiffe://root@postfleet/aggregator/web", Identity{}},
		{"escaped slash", FleetScheme, "spiffe://postfleet/aggregator/web%2Fx", Identity{}},
		{"parent", FleetScheme, "spiffe://postfleet/aggregator/..", Identity{}},
		{"connect URI", FleetScheme, domain + "/ns/default/dc/dc1/svc/postfleet", Identity{}},

		{"connect aggregator", connect, domain + "/ns/default/dc/dc1/svc/postfleet", Identity{Aggregator, "postfleet"}},
		{"connect node", connect, domain + "/ns/default/dc/dc1/svc/postfleet-node.mx1", Identity{Node, "mx1"}},
		{"connect partition", connect, domain + "/ap/p1/ns/default/dc/dc1/svc/postfleet-node.mx1", Identity{Node, "mx1"}},
		{"connect node without a name", connect, domain + "/ns/default/dc/dc1/svc/postfleet-node.", Identity{}},
		{"connect node API", connect, domain + "/ns/default/dc/dc1/svc/postfleet-node", Identity{}},
		{"connect other service", connect, domain + "/ns/default/dc/dc1/svc/postfleet-node-mx1", Identity{}},
		{"connect stranger", connect, domain + "/ns/default/dc/dc1/svc/web", Identity{}},
		{"connect twice", connect, domain + "/ns/default/dc/dc1/svc/web/svc/postfleet", Identity{}},
		{"connect escaped slash", connect, domain + "/ns/default/dc/dc1/svc/postfleet-node.a%2Fb", Identity{}},
		{"connect agent", connect, domain + "/agent/client/dc/dc1/id/x", Identity{}},
		{"connect elsewhere", connect, domain + "/x/svc/postfleet", Identity{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			uri, err := url.Parse(tc.uri)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := tc.scheme(uri)
			if !ok {
				got = Identity{}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || ok != (tc.want != Identity{}) {
				t.Errorf("ok %v\n%s", ok, diff)
			}
		})
	}
}

func TestIdentityValidate(t *testing.T) {
	for _, bad := range []Identity{{}, {Node, ""}, {Node, "a b"}, {Node, "a/b"}, {Node, "."}, {Node, ".."}, {"root", "mx1"},
		{Node, strings.Repeat("a", 101)}} {
		if bad.Validate() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := (Identity{Node, "mx-1_a.example.com"}).Validate(); err != nil {
		t.Error(err)
	}
}
