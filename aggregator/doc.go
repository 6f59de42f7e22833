// Package aggregator shows the fleet as one: it asks all nodes at once, merges what they answer by time, fetches
// transcripts from the node that has them, and serves the JSON API and the browser pages over that. What it has seen it
// remembers for a time, for nodes that are away (package cache).
package aggregator
