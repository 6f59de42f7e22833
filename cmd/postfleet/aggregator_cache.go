package main

import (
	"context"

	"go.uber.org/zap"

	"github.com/postfleet/postfleet/aggregator/cache"
)

// openCache gives the aggregator a memory of its nodes, or nil. One that can't be used is no reason to show nothing.
func (s *aggregatorService) openCache() *cache.Cache {
	c := &s.config.Cache
	dir := string(c.Dir)
	if dir == "" {
		dir = s.stateFile("aggregator-cache")
	}
	if !c.Enabled || dir == "" {
		return nil
	}
	memory, err := cache.Open(cache.Options{Dir: dir, MaxSize: int64(c.MaxSize), MaxNode: int64(c.MaxNodeSize), Keep: c.Keep.Std(),
		Log: s.log.Named("cache"), Registerer: s.registry})
	if err != nil {
		s.log.Error("nodes are not remembered for a time without them", zap.Error(err))
		return nil
	}
	s.stops = append(s.stops, func(context.Context) error { return memory.Close() })
	return memory
}
