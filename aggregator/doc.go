// Package aggregator shows the fleet as one: it asks all nodes at once, merges what they answer by time, fetches
// transcripts from the node that has them, and serves the JSON API and the browser pages over that. It keeps no mail
// data of its own.
package aggregator
