package nodeapi

import "github.com/postfleet/postfleet/internal/fleet"

// The routes. Those that change something take POST.
const (
	routeNode        = "/v1/node"
	routeHealth      = "/v1/health"
	routeMessages    = "/v1/messages"
	routeMessage     = "/v1/messages/{id}"
	routeTranscripts = "/v1/messages/{id}/transcripts"
	routeStats       = "/v1/stats"
	routeEvents      = "/v1/events"
	routeCarried     = "/v1/carried"
)

// nodeHeader names the node in every answer, so that a caller notices whom it reached.
const nodeHeader = "Postfleet-Node"

// eventChange is the server-sent event whose data is a fleet.Change. Callers ignore other events.
const eventChange = "change"

// Transcripts is the answer about a message's conversations, oldest first.
type Transcripts struct {
	Transcripts []fleet.Transcript `json:"transcripts"`
}

// Health is the answer about the node's fitness; the status is 503 when it isn't healthy.
type Health struct {
	Healthy bool          `json:"healthy"`
	Checks  []fleet.Check `json:"checks"`
}
