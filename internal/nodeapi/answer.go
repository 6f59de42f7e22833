package nodeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// compressFrom is the size from which compressing an answer saves more than it costs: below it a packet carries it.
const compressFrom = 1400

var compressors = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant of the package
	}
	return w
}}

// writeJSON encodes the whole value before the first byte goes out, so that a failure can still be told.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, value any) error {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(value); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("Vary", "Accept-Encoding")
	if body.Len() < compressFrom || !acceptsGzip(r) {
		header.Set("Content-Length", strconv.Itoa(body.Len()))
		w.WriteHeader(status)
		_, err := body.WriteTo(w)
		return err
	}
	header.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	compressor := compressors.Get().(*gzip.Writer)
	defer compressors.Put(compressor)
	compressor.Reset(w)
	if _, err := body.WriteTo(compressor); err != nil {
		return err
	}
	return compressor.Close()
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3) as far as gzip goes; a quality of zero forbids it.
func acceptsGzip(r *http.Request) bool {
	for _, part := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		coding, parameter, _ := strings.Cut(strings.TrimSpace(part), ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		weight, found := strings.CutPrefix(strings.ReplaceAll(parameter, " ", ""), "q=")
		quality, err := strconv.ParseFloat(weight, 64)
		return !found || err == nil && quality > 0
	}
	return false
}
