package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// store is a writing connection with its prepared statements. Only one goroutine uses it.
type store struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// walPages is how many pages the write-ahead log collects before they move into the file: 8 MiB.
const walPages = 2000

// openStore opens a file for writing. synchronous=NORMAL in WAL mode syncs at checkpoints only: a killed process loses
// nothing, a power cut the last moments, and the file stays whole either way (sqlite.org/pragma.html#pragma_synchronous).
func openStore(k *kind, path string) (*store, error) {
	ctx := context.Background()
	db, err := sql.Open("sqlite", dsn(path, "rwc", "journal_mode(wal)", "synchronous(normal)",
		fmt.Sprintf("wal_autocheckpoint(%d)", walPages), fmt.Sprintf("cache_size(-%d)", k.cache), "journal_size_limit(0)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &store{db: db, conn: conn, stmts: map[string]*sql.Stmt{}}
	if err := k.migrate(ctx, conn); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// exec runs a statement, prepared at its first use. The writer's statements are short and are never interrupted.
func (s *store) exec(query string, args ...any) error {
	stmt, err := s.prepared(query)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(context.Background(), args...)
	return err
}

func (s *store) prepared(query string) (*sql.Stmt, error) {
	stmt := s.stmts[query]
	if stmt == nil {
		var err error
		if stmt, err = s.conn.PrepareContext(context.Background(), query); err != nil {
			return nil, err
		}
		s.stmts[query] = stmt
	}
	return stmt, nil
}

// each calls scan for every row.
func (s *store) each(scan func(*sql.Rows) error, query string, args ...any) error {
	stmt, err := s.prepared(query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// transact runs f in a transaction.
func (s *store) transact(f func() error) error {
	if err := s.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		err = s.exec("COMMIT")
	}
	if err != nil {
		// SQLite may have rolled back by itself, on a full disk for one; then this one says so, and that is no news.
		_ = s.exec("ROLLBACK")
	}
	return err
}

func (s *store) close() error {
	for _, stmt := range s.stmts {
		_ = stmt.Close() // closing the connection below is what counts
	}
	return errors.Join(s.conn.Close(), s.db.Close())
}

// corrupt tells whether an error says that a file is no sound database.
func corrupt(err error) bool {
	if errors.Is(err, errDamaged) {
		return true
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff // extended result codes carry the primary one in the low byte
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}
