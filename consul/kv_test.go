package consul

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// fakeKV plays the agent's KV store with blocking queries and check-and-set.
type fakeKV struct {
	mu      sync.Mutex
	index   uint64
	pairs   map[string]*api.KVPair
	changed chan struct{}
	status  int // of every answer; 0: as it should be
}

func newKV() *fakeKV {
	return &fakeKV{index: 10, pairs: map[string]*api.KVPair{}, changed: make(chan struct{})}
}

// set writes a value as a stranger would; an empty one deletes the key.
func (f *fakeKV) set(key, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store(key, []byte(value))
}

func (f *fakeKV) store(key string, value []byte) {
	f.index++
	if len(value) == 0 {
		delete(f.pairs, key)
	} else {
		f.pairs[key] = &api.KVPair{Key: key, Value: value, ModifyIndex: f.index, CreateIndex: f.index}
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// restore replaces the whole store by an older one.
func (f *fakeKV) restore(values map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index, f.pairs = 1, map[string]*api.KVPair{}
	for key, value := range values {
		f.store(key, []byte(value))
	}
}

func (f *fakeKV) get(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if pair := f.pairs[key]; pair != nil {
		return string(pair.Value)
	}
	return ""
}

// fails has every answer be an error of that status; 0 ends it.
func (f *fakeKV) fails(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status = status
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeKV) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, ok := strings.CutPrefix(r.URL.Path, "/v1/kv/")
	f.mu.Lock()
	defer f.mu.Unlock()
	if !ok || f.status != 0 {
		http.Error(w, "No cluster leader", cmp.Or(f.status, http.StatusNotFound))
		return
	}
	seen, _ := strconv.ParseUint(r.URL.Query().Get("cas"), 10, 64)
	switch r.Method {
	case http.MethodPut, http.MethodDelete:
		value, _ := io.ReadAll(r.Body)
		pair := f.pairs[key]
		fits := !r.URL.Query().Has("cas") || pair == nil && seen == 0 || pair != nil && pair.ModifyIndex == seen
		if fits {
			f.store(key, value)
		}
		_ = json.NewEncoder(w).Encode(fits)
	default:
		f.wait(r)
		f.answer(w, key, r.URL.Query().Has("recurse"))
	}
}

// wait lets others in until something changes.
func (f *fakeKV) wait(r *http.Request) {
	seen, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	if seen == 0 || seen < f.index || f.status != 0 {
		return
	}
	changed := f.changed
	f.mu.Unlock()
	defer f.mu.Lock()
	select {
	case <-changed:
	case <-r.Context().Done():
	case <-time.After(time.Second):
	}
}

func (f *fakeKV) answer(w http.ResponseWriter, key string, below bool) {
	var list []*api.KVPair
	for name, pair := range f.pairs {
		if name == key || below && strings.HasPrefix(name, key) {
			list = append(list, pair)
		}
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(f.index, 10))
	if f.status != 0 {
		w.WriteHeader(f.status)
		return
	}
	if len(list) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(list)
}
