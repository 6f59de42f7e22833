package repository

import (
	"context"
	"database/sql"
	"fmt"
)

// kind is what a segment file holds. Its migrations are numbered from 1; PRAGMA user_version has the number of the last
// one that a file went through. A migration that has shipped never changes.
type kind struct {
	name       string
	cache      int // KiB of pages that the writing connection keeps; the whole daemon has 64 MiB
	migrations []string
}

func (k *kind) version() int { return len(k.migrations) }

var messageKind = &kind{name: "messages", cache: 2048, migrations: []string{
	// 1: The write path touches message, chunk, fresh and position only. What a query needs beyond the id (lookup, waiting,
	// term) is filled in by the indexer; until then the id stands in fresh, and queries look at those messages one by one.
	`CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
	CREATE TABLE message (id INTEGER PRIMARY KEY, doc BLOB NOT NULL);
	CREATE TABLE chunk (message INTEGER, number INTEGER, body BLOB NOT NULL, PRIMARY KEY (message, number)) WITHOUT ROWID;
	CREATE TABLE fresh (id INTEGER PRIMARY KEY);
	CREATE TABLE waiting (id INTEGER PRIMARY KEY);
	CREATE TABLE lookup (key INTEGER, id INTEGER, PRIMARY KEY (key, id)) WITHOUT ROWID;
	CREATE VIRTUAL TABLE term USING fts5(token, content='', columnsize=0, detail=none, tokenize='ascii');
	CREATE TABLE position (source TEXT PRIMARY KEY, seq INTEGER NOT NULL, boot TEXT NOT NULL,
		cursor TEXT NOT NULL, state BLOB, synced_cursor TEXT, synced_state BLOB) WITHOUT ROWID;`,
	// 2: Figures for the overview: one small row a message, and sums of whole hours made from them. Every message is marked
	// fresh, so that the indexer fills them in.
	`CREATE TABLE fact (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
	CREATE TABLE hour (hour INTEGER PRIMARY KEY, body BLOB NOT NULL);
	INSERT OR IGNORE INTO fresh SELECT id FROM message;`,
	// 3: Messages are found by TLS and by the reason for a refusal, and what goes through a socket on the node is no delivery
	// in clear any more. Every message is marked fresh, so that the indexer adds the tokens and makes the figures anew.
	`INSERT OR IGNORE INTO fresh SELECT id FROM message;`,
	// 4: Messages of which another node has yet to tell what became of them. No file from before has any; nor has one a
	// message of another node, which has no row in fact: it counts there.
	`CREATE TABLE relayed (id INTEGER PRIMARY KEY);`,
	// 5: Messages are found by the node that carries them. Those of which a recipient went to another node are marked fresh,
	// so that the indexer adds the tokens.
	`INSERT OR IGNORE INTO fresh SELECT id FROM message WHERE instr(doc, '"hop":"') > 0;
	INSERT OR IGNORE INTO fresh SELECT message FROM chunk WHERE instr(body, '"hop":"') > 0;`,
}}

var transcriptKind = &kind{name: "transcripts", cache: 512, migrations: []string{
	`CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
	CREATE TABLE transcript (message INTEGER, key TEXT, body BLOB NOT NULL, PRIMARY KEY (message, key)) WITHOUT ROWID;`,
}}

// newerError is a file that a later version of postfleet has written.
type newerError struct{ has, knows int }

func (e *newerError) Error() string {
	return fmt.Sprintf("written by a newer postfleet (schema %d, this one knows up to %d)", e.has, e.knows)
}

// migrate brings a file up to the newest schema, one transaction a step.
func (k *kind) migrate(ctx context.Context, conn *sql.Conn) error {
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > k.version() {
		return &newerError{has: version, knows: k.version()}
	}
	for ; version < k.version(); version++ {
		script := fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA user_version = %d;\nCOMMIT;", k.migrations[version], version+1)
		if _, err := conn.ExecContext(ctx, script); err != nil {
			_, _ = conn.ExecContext(ctx, "ROLLBACK") // the first error is the one to tell; there may be nothing to roll back
			return fmt.Errorf("migrate to schema %d: %w", version+1, err)
		}
	}
	return nil
}
