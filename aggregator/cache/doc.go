// Package cache is an aggregator's memory of its nodes: the messages and conversations that it has seen of each, on disk,
// so that a node that is away leaves knowledge with an age instead of a gap. It is a cache and nothing else: bounded in
// bytes and age, filled beside the answers and never in their way, and worth no more than a fresh start when a file of it
// is damaged. What a node itself answers always goes before it.
package cache
