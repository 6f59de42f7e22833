package keys

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/google/go-cmp/cmp"

	"github.com/postfleet/postfleet/consul"
	"github.com/postfleet/postfleet/internal/fleet"
	"github.com/postfleet/postfleet/test/lab"
)

// Nodes take turns through Consul, a node that dies gives its turn back, and each hears what the others have; of a node that
// left for good nothing is heard any more.
func TestTurnsAndClaims(t *testing.T) {
	ctx := lab.Within(t, 90*time.Second)
	l := lab.ForTest(t)
	server, err := l.StartConsul(ctx, lab.ConsulOptions{Name: "server"})
	if err != nil {
		t.Fatal(err)
	}
	node := func(name string) *consul.Keys {
		client, err := consul.NewClient(consul.Options{Address: server.HTTP, Log: zaptest.NewLogger(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return consul.NewKeys(consul.KeysOptions{Client: client, Node: name})
	}
	one, two := node("n1"), node("n2")
	take := func(k *consul.Keys, want bool) {
		t.Helper()
		if mine, err := k.TakeTurn(ctx); mine != want || err != nil {
			t.Errorf("took the turn: %v, %v", mine, err)
		}
	}
	take(one, true)
	take(one, true)
	take(two, false)
	one.LeaveTurn()
	lab.Await(t, ctx, func(ctx context.Context) error {
		if mine, err := two.TakeTurn(ctx); !mine {
			return errors.Join(err, errors.New("not its turn yet"))
		}
		return nil
	})
	take(one, false)
	two.LeaveTurn()
	two.LeaveTurn() // again is nothing

	claims := map[string][]fleet.Claim{"n1": {{Node: "n1", Domain: domain, Selector: "a", Fingerprint: "f1", Signs: true}},
		"n2": {{Node: "n2", Domain: domain, Selector: "b", Fingerprint: "f2", Made: time.Unix(1700000000, 0).UTC()}}}
	if err := errors.Join(one.Publish(ctx, claims["n1"]), two.Publish(ctx, claims["n2"])); err != nil {
		t.Fatal(err)
	}
	heard, err := one.Claims(ctx)
	if diff := cmp.Diff(append(claims["n1"], claims["n2"]...), heard); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Claims(ctx); err == nil {
		t.Error("an answer without Consul")
	}
	if err := one.Publish(ctx, nil); err == nil {
		t.Error("published without Consul")
	}
	if mine, err := one.TakeTurn(ctx); mine || err == nil {
		t.Errorf("took a turn without Consul: %v, %v", mine, err)
	}
}
