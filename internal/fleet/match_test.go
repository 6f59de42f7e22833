package fleet

import "testing"

func TestMatch(t *testing.T) {
	delivered := &Message{ID: MessageIDAt(noon), QueueID: "4FABC", Sender: "Alice@Example.org", Subject: "Grüße aus München",
		MessageID: "1@example.org", Removed: noon, RemovedBy: LeftDone, Verdict: VerdictAccepted,
		Client:     Client{Addr: "2001:db8::1", Name: "app.lan.example.org", AuthUser: "app"},
		Signatures: []Signature{{Domain: "example.org"}},
		Recipients: []Recipient{
			{Address: "bob@one.example", OrigTo: "all@list.example", Status: StatusDelivered, Attempts: []Attempt{{RelayHost: "mx.one.example", RelayAddr: "192.0.2.9", TLS: "Trusted TLSv1.3"}}},
			{Address: "carol@two.example", Status: StatusBounced, Reply: "host mx[192.0.2.7] said: 550 5.1.1 User unknown"},
		}}
	carried := &Message{ID: MessageIDAt(noon), Node: "mx1", QueueID: "4FABE", Removed: noon, Recipients: []Recipient{
		{Address: "bob@one.example", Status: StatusDelivered, Attempts: []Attempt{{Status: "deferred"}, {Status: "sent", Hop: AnyCarrier, RemoteID: "R1"}},
			Carried: &Carried{Node: "mx2", QueueID: "R1", Status: StatusDelivered}},
		{Address: "carol@two.example", Status: StatusRelayed, Attempts: []Attempt{{Status: "sent", Hop: AnyCarrier, RemoteID: "R2"}}},
		{Address: "dave@two.example", Status: StatusDeferred, Attempts: []Attempt{{Status: "deferred", Hop: "mx3"}}},
	}}
	waiting := &Message{ID: MessageIDAt(noon), QueueID: "4FABD", Recipients: []Recipient{{Address: "bob@one.example", Status: StatusDeferred}}}
	aborted := &Message{ID: MessageIDAt(noon), Verdict: VerdictAborted, Recipients: []Recipient{{Address: "bob@one.example", Status: StatusUnknown}}}
	refused := &Message{ID: MessageIDAt(noon), Verdict: VerdictRejected, Reply: "550 5.1.1 User unknown"}
	tests := map[string]struct {
		query   Query
		message *Message
		want    bool
	}{
		"everything":                       {Query{}, delivered, true},
		"since is included":                {Query{Since: noon}, delivered, true},
		"until is not":                     {Query{Until: noon}, delivered, false},
		"address without case":             {Query{Sender: "aLICE@example.org"}, delivered, true},
		"other address":                    {Query{Sender: "lice@example.org"}, delivered, false},
		"part of an address":               {Query{Sender: "lice"}, delivered, true},
		"domain of the sender":             {Query{Sender: "@EXAMPLE.org"}, delivered, true},
		"parent domain of the sender":      {Query{Sender: "@org"}, delivered, false},
		"null sender":                      {Query{Sender: "<>"}, waiting, true},
		"null sender, there is one":        {Query{Sender: "<>"}, delivered, false},
		"recipient as given":               {Query{Recipient: "all@list.example"}, delivered, true},
		"recipient and status of one":      {Query{Recipient: "carol@two.example", Status: StatusBounced}, delivered, true},
		"recipient and status of two":      {Query{Recipient: "bob@one.example", Status: StatusBounced}, delivered, false},
		"domain and relay of two":          {Query{Domain: "two.example", Relay: "192.0.2.9"}, delivered, false},
		"domain with a dot at the end":     {Query{Domain: "One.Example."}, delivered, true},
		"relay by name":                    {Query{Relay: "MX.one.example"}, delivered, true},
		"carrier, by its word":             {Query{Carrier: "mx2"}, carried, true},
		"carrier in another case":          {Query{Carrier: "MX2"}, carried, false},
		"carrier that didn't take it":      {Query{Carrier: "mx3"}, carried, false},
		"carrier is not the origin":        {Query{Carrier: "mx1"}, carried, false},
		"any carrier":                      {Query{Carrier: AnyCarrier}, carried, true},
		"any carrier, not known yet":       {Query{Carrier: AnyCarrier, Status: StatusRelayed}, carried, true},
		"carrier and status of two":        {Query{Carrier: "mx2", Status: StatusRelayed}, carried, false},
		"carrier and status of one":        {Query{Carrier: "mx2", Status: StatusDelivered}, carried, true},
		"any carrier, it stayed":           {Query{Carrier: AnyCarrier}, delivered, false},
		"with TLS":                         {Query{TLS: TLSYes}, delivered, true},
		"in clear":                         {Query{TLS: TLSNo}, delivered, false},
		"neither, waiting":                 {Query{TLS: TLSNo}, waiting, false},
		"TLS and domain of two":            {Query{TLS: TLSYes, Domain: "two.example"}, delivered, false},
		"TLS and relay of one":             {Query{TLS: TLSYes, Relay: "mx.one.example"}, delivered, true},
		"reason":                           {Query{Reason: "User unknown"}, delivered, true},
		"reason in another case":           {Query{Reason: "user unknown"}, delivered, false},
		"part of a reason":                 {Query{Reason: "User"}, delivered, false},
		"reason and status of one":         {Query{Reason: "User unknown", Status: StatusBounced}, delivered, true},
		"reason and recipient of two":      {Query{Reason: "User unknown", Recipient: "bob@one.example"}, delivered, false},
		"reason and TLS of two":            {Query{Reason: "User unknown", TLS: TLSYes}, delivered, false},
		"reason of a session":              {Query{Reason: "User unknown"}, refused, false},      // as Stats counts recipients
		"words in any order":               {Query{Subject: "münchen GRÜSSE"}, delivered, false}, // ß is not ss
		"words without case":               {Query{Subject: "MÜNCHEN grü"}, delivered, true},
		"message id with brackets":         {Query{MessageID: "<1@EXAMPLE.org>"}, delivered, true},
		"queue id":                         {Query{QueueID: "4FABC"}, delivered, true},
		"queue id in another case":         {Query{QueueID: "4fabc"}, delivered, false},
		"client address":                   {Query{Client: "2001:DB8::1"}, delivered, true},
		"client name":                      {Query{Client: "app.lan.example.org"}, delivered, true},
		"client's parent domain":           {Query{Client: "example.org"}, delivered, true},
		"client's domain with a dot":       {Query{Client: ".lan.example.org"}, delivered, true},
		"client, part of a label":          {Query{Client: "xample.org"}, delivered, false},
		"user":                             {Query{User: "APP"}, delivered, true},
		"signed":                           {Query{Signed: "yes"}, delivered, true},
		"signed with the domain":           {Query{Signed: "EXAMPLE.org"}, delivered, true},
		"not signed":                       {Query{Signed: "no"}, waiting, true},
		"view good, one bounced":           {Query{View: ViewGood}, delivered, false},
		"view bounced":                     {Query{View: ViewBounced}, delivered, true},
		"view queue":                       {Query{View: ViewQueue}, waiting, true},
		"view queue, removed":              {Query{View: ViewQueue}, delivered, false},
		"view rejected takes aborted ones": {Query{View: ViewRejected}, aborted, true},
		"view rejected, waiting":           {Query{View: ViewRejected}, waiting, false},
		"the cursor is not a filter":       {Query{Before: 1}, delivered, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.query.Match(test.message); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
