package logsource

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io/fs"
	"syscall"
)

// headSize is how much of a file's beginning tells it from others.
const headSize = 1 << 10

// position is a place in a log file. A file is known again by its inode, or, when it was copied, by its beginning.
type position struct {
	Device uint64 `json:"dev"`
	Inode  uint64 `json:"ino"`
	Offset int64  `json:"offset"`
	Head   int    `json:"head"` // bytes of the beginning that Hash is of
	Hash   uint64 `json:"hash"`
}

func parsePosition(cursor string) (position, error) {
	var p position
	if err := json.Unmarshal([]byte(cursor), &p); err != nil {
		return position{}, fmt.Errorf("file cursor %.80q: %w", cursor, err)
	}
	if p.Offset < 0 || p.Head < 0 || p.Head > headSize || int64(p.Head) > p.Offset {
		return position{}, fmt.Errorf("file cursor %.80q: out of range", cursor)
	}
	return p, nil
}

func (p position) String() string {
	text, _ := json.Marshal(p) //nolint:errchkjson // numbers only
	return string(text)
}

func hashOf(head []byte) uint64 {
	h := fnv.New64a()
	h.Write(head)
	return h.Sum64()
}

// sameInode tells whether info is of the position's file.
func (p position) sameInode(info fs.FileInfo) bool {
	device, inode := identity(info)
	return device == p.Device && inode == p.Inode
}

func identity(info fs.FileInfo) (device, inode uint64) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Dev, stat.Ino
	}
	return 0, 0
}
