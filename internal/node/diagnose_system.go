package node

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/postfleet/postfleet/internal/config"
	"github.com/postfleet/postfleet/internal/diagnose"
	"github.com/postfleet/postfleet/internal/fleet"
)

// What the disks are for.
const (
	diskQueue      = "queue"
	diskRepository = "repository"
	diskLog        = "log"
)

// disks measures the file systems that Postfix and this daemon write to.
func disks(c *config.Milter) (list []diagnose.Disk) {
	list = append(list, measure(diskQueue, string(c.Postfix.QueueDir)))
	repository := measure(diskRepository, string(c.Repository.Dir))
	repository.Least, repository.LeastWhy = uint64(c.Repository.MinFree), "recording (repository.min_free)"
	list = append(list, repository)
	if file := string(c.Postfix.Log.File); file != "" && c.Postfix.Log.Source != "journal" {
		if _, err := os.Stat(file); err == nil {
			list = append(list, measure(diskLog, filepath.Dir(file)))
		}
	}
	return list
}

func measure(use, path string) diagnose.Disk {
	d := diagnose.Disk{Path: path, Use: use}
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		d.Err = fmt.Errorf("look at %s: %w", path, err)
		return d
	}
	unit := uint64(s.Bsize)
	d.Free, d.Size, d.FreeNodes, d.AllNodes = s.Bavail*unit, s.Blocks*unit, s.Ffree, s.Files
	return d
}

// leastFree is what Postfix wants to be free before it takes mail: queue_minfree, or one and a half times the largest message
// (postconf(5)).
func leastFree(p *diagnose.Postfix) (bytes uint64, why string) {
	if n, err := strconv.ParseUint(p.Main("queue_minfree"), 10, 64); err == nil && n > 0 {
		return n, "Postfix (queue_minfree)"
	}
	n, err := strconv.ParseUint(p.Main("message_size_limit"), 10, 62)
	if err != nil || n == 0 {
		return 0, ""
	}
	return n * 3 / 2, "Postfix (1.5 times message_size_limit)"
}

// clockHeld asks the kernel whether a time service holds its clock (adjtimex(2)); nil where this daemon may not ask and
// nobody else tells. ProtectClock= of the unit forbids it; systemd-timesyncd leaves a sign.
func clockHeld() func() (bool, error) {
	const unsynchronised = 5 // TIME_ERROR
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t)
	if err == nil {
		return func() (bool, error) { return state != unsynchronised, nil }
	}
	if _, err := os.Stat("/run/systemd/timesync/synchronized"); err == nil {
		return func() (bool, error) { return true, nil }
	}
	return nil
}

// queue asks postqueue(1), which knows when each message came; where that may not be asked, the repository and the directories.
func (q *inquiry) queue(ctx context.Context) (*diagnose.Queue, error) {
	listed, err := q.postfix.List(ctx)
	if err == nil {
		return readQueue(listed), nil
	}
	counted, failed := q.postfix.Queue(0)
	if failed != nil {
		return nil, fmt.Errorf("%w; %w", err, failed)
	}
	found := &diagnose.Queue{Messages: counted.Incoming + counted.Active + counted.Deferred, Deferred: counted.Deferred,
		From: "the queue's directories, since " + err.Error()}
	if q.store == nil || found.Messages == 0 {
		return found, nil
	}
	return found, q.oldest(ctx, found)
}

// oldest asks the repository for old messages that wait still; it knows those that came since it began to record.
func (q *inquiry) oldest(ctx context.Context, found *diagnose.Queue) error {
	for _, age := range []time.Duration{4 * 24 * time.Hour, 2 * 24 * time.Hour, 24 * time.Hour, 4 * time.Hour, time.Hour, 0} {
		page, err := q.store.Messages(ctx, fleet.Query{View: fleet.ViewQueue, Until: q.now().Add(-age), Hops: fleet.HopsYes, Limit: fleet.MaxLimit})
		if err != nil {
			return err
		}
		if n := len(page.Messages); n > 0 {
			found.Oldest = page.Messages[n-1].FirstSeen
			return nil
		}
	}
	return nil
}

// queued is a line of postqueue -j.
type queued struct {
	Queue      string `json:"queue_name"`
	Arrived    int64  `json:"arrival_time"`
	Recipients []struct {
		Reason string `json:"delay_reason"`
	} `json:"recipients"`
}

const mostReasons = 5

func readQueue(listed []byte) *diagnose.Queue {
	found := &diagnose.Queue{From: "postqueue"}
	reasons := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(listed))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var one queued
		if json.Unmarshal(lines.Bytes(), &one) != nil || one.Queue == "hold" {
			continue
		}
		found.Messages++
		if one.Queue == "deferred" {
			found.Deferred++
		}
		if at := time.Unix(one.Arrived, 0); found.Oldest.IsZero() || at.Before(found.Oldest) {
			found.Oldest = at
		}
		for _, r := range one.Recipients {
			if r.Reason != "" {
				reasons[r.Reason]++
			}
		}
	}
	often := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int { return cmp.Or(cmp.Compare(reasons[b], reasons[a]), cmp.Compare(a, b)) })
	for _, reason := range often[:min(len(often), mostReasons)] {
		found.Reasons = append(found.Reasons, fmt.Sprintf("%d×: %s", reasons[reason], reason))
	}
	return found
}

// notThere tells whether a file isn't there, which is no error where it needn't be.
func notThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
