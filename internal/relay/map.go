package relay

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"go.uber.org/zap"
)

// The name of the map, as in socketmap:unix:…:relay.
const mapName = "relay"

// Limits of the map's connections. Postfix's trivial-rewrite(8) servers keep one each, of which there are at most
// default_process_limit, and close it after ten silent seconds.
const (
	maxMapConnections = 256
	mapIdle           = 10 * time.Minute
	mapTimeout        = 10 * time.Second // for the rest of a query that has begun, and for the reply
)

// serveMap answers one connection's queries until it ends.
func (r *Relay) serveMap(conn net.Conn) {
	in := bufio.NewReaderSize(conn, 1024)
	var query, reply []byte
	for {
		_ = conn.SetReadDeadline(time.Now().Add(mapIdle))
		if _, err := in.Peek(1); err != nil {
			return // closed, or silent for long
		}
		_ = conn.SetDeadline(time.Now().Add(mapTimeout))
		var err error
		if query, err = readNetstring(in, query[:0]); err != nil {
			if !errors.Is(err, io.EOF) {
				r.log.Warn("connection to the map closed", zap.Error(err))
			}
			return
		}
		reply = appendNetstring(reply[:0], r.query(query))
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// query answers "NAME KEY" (socketmap_table(5)).
func (r *Relay) query(query []byte) string {
	began := time.Now()
	name, key, found := bytes.Cut(query, []byte{' '})
	if !found || string(name) != mapName {
		r.metrics.lookups.WithLabelValues("error").Inc()
		// An error of configuration: Postfix lets the mail wait and logs the reason.
		return "PERM the only map here is " + mapName
	}
	how, to := r.answer(r.view.Load(), string(key), r.o.Now())
	r.lookups.Add(1)
	r.metrics.lookups.WithLabelValues(string(how)).Inc()
	r.metrics.lookupTime.Observe(time.Since(began).Seconds())
	if how == direct {
		return "NOTFOUND "
	}
	return "OK " + to
}
