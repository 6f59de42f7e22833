package repository

import (
	"encoding/json"
	"fmt"
	"hash/maphash"

	"github.com/postfleet/postfleet/internal/fleet"
)

// chunkSize is how many recipients one row holds. The first ones are in the document itself; a message with thousands has
// the others in chunks, so that an attempt for one of them doesn't write all of them again.
const chunkSize = 64

// document is a message as stored.
type document struct {
	*fleet.Message
	Chunks int `json:"chunks,omitempty"` // rows of further recipients
}

var seed = maphash.MakeSeed()

// encodeMessage gives the document of a message without the recipients beyond the first chunk.
func encodeMessage(m *fleet.Message) ([]byte, error) {
	first := *m
	doc := document{Message: &first, Chunks: chunks(len(m.Recipients))}
	if doc.Chunks > 0 {
		first.Recipients = m.Recipients[:chunkSize]
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, &unstorableError{err}
	}
	return body, nil
}

// unstorableError is a message with a time or a number that JSON has no form for.
type unstorableError struct{ err error }

func (e *unstorableError) Error() string { return "encode message: " + e.err.Error() }
func (e *unstorableError) Unwrap() error { return e.err }

// chunks is how many rows hold the recipients that the document itself doesn't.
func chunks(recipients int) int { return max(0, (recipients-1)/chunkSize) }

// chunkOf are the recipients in the row of that number, which counts from 1.
func chunkOf(m *fleet.Message, number int) []fleet.Recipient {
	return m.Recipients[number*chunkSize : min((number+1)*chunkSize, len(m.Recipients))]
}

// chunkSum changes whenever an event changes one of the recipients. It looks only at what events can change, since it is
// taken of every chunk before each save.
func chunkSum(recipients []fleet.Recipient) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for i := range recipients {
		r := &recipients[i]
		for _, text := range []string{r.Address, r.OrigTo, string(r.Status), r.Next, r.DSN, r.Relay, r.Reply} {
			h.WriteString(text)
			h.WriteByte(0)
		}
		if r.Carried != nil {
			maphash.WriteComparable(&h, *r.Carried)
		}
		for j := range r.Attempts {
			a := &r.Attempts[j]
			maphash.WriteComparable(&h, a.ID)
			h.WriteString(a.Hop)
			h.WriteByte(0)
			h.WriteString(a.Transcript)
			h.WriteByte(0)
			h.WriteString(a.TLS)
			h.WriteByte(0)
		}
		h.WriteByte(1)
	}
	return h.Sum64()
}

// decodeMessage reads a document; more loads the chunk of a number, which counts from 1.
func decodeMessage(body []byte, more func(id fleet.MessageID, number int) ([]byte, error)) (*fleet.Message, error) {
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	for number := 1; number <= doc.Chunks; number++ {
		chunk, err := more(doc.ID, number)
		if err != nil {
			return nil, fmt.Errorf("read recipients of message %s: %w", doc.ID, err)
		}
		var recipients []fleet.Recipient
		if err := json.Unmarshal(chunk, &recipients); err != nil {
			return nil, fmt.Errorf("decode recipients of message %s: %w", doc.ID, err)
		}
		doc.Recipients = append(doc.Recipients, recipients...)
	}
	return doc.Message, nil
}
