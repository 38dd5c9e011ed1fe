// Package sqlite keeps a master's state in one SQLite file.
//
// SQLite writes one transaction at a time and pays a disk flush for each, so
// one goroutine does all writing and lets those who wait share a flush: it takes
// what is queued, gives each write a savepoint of one transaction, commits, and
// only then answers them. A write that fails rolls back to its savepoint and
// leaves the others alone. While one transaction is flushed the next gathers,
// so under load the groups grow by themselves and nothing ever waits for a
// timer.
//
//	Write ──▶ queue ──▶ BEGIN ─ SAVEPOINT f₁ RELEASE ─ SAVEPOINT f₂ ROLLBACK ─ … ─ COMMIT ──▶ answers
//	(bounded)            one goroutine, one connection                  flushed
//
// Reads use connections of their own and, in WAL mode, neither wait for the
// writer nor hold it up.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/migrations"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// readers is how many reads run at a time: more than the cores of a usual
	// machine gains nothing, as SQLite reads from the page cache.
	readers = 4
	// busyTimeout, in milliseconds, is how long to wait for another process,
	// such as a backup or a second master that tries the lease.
	busyTimeout = "5000"
)

// Open opens the database in the file at path, making it (readable by its owner
// only: it holds user data) when it does not exist, and brings its schema up to
// date. A file that is not a database, or one that a newer Dormouse wrote, is
// refused with a [dormouse.Configuration] error.
func Open(ctx context.Context, path string) (*store.DB, error) {
	b, err := Connect(ctx, path)
	if err != nil {
		return nil, err
	}
	return store.New(ctx, b)
}

// Connect is Open without the [store.DB], which [store.New] makes of a backend.
func Connect(ctx context.Context, path string) (store.Backend, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return store.Backend{}, dormouse.Errorf(dormouse.Configuration, "database %s: %w", path, err)
	}
	if err := createFile(path); err != nil {
		return store.Backend{}, dormouse.Errorf(dormouse.Configuration, "database %s: %w", path, err)
	}
	b, err := connect(ctx, path)
	if err != nil {
		if _, ok := errors.AsType[*dormouse.Error](err); !ok {
			err = dormouse.Errorf(classify(err), "opening database %s: %w", path, err)
		}
		return store.Backend{}, err
	}
	return b, nil
}

func connect(ctx context.Context, path string) (b store.Backend, err error) {
	writes, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return b, err
	}
	if err := migrations.Up(ctx, migrations.SQLite, writes, path); err != nil {
		return b, errors.Join(err, writes.Close())
	}
	reads, err := sql.Open("sqlite", dsn(path, "query_only(1)"))
	if err != nil {
		return b, errors.Join(err, writes.Close())
	}
	reads.SetMaxOpenConns(readers)
	reads.SetMaxIdleConns(readers)
	w, err := newWriter(ctx, writes)
	if err != nil {
		return b, errors.Join(err, reads.Close(), writes.Close())
	}
	return store.Backend{
		Writer: w, Reads: reads, Classify: classify,
		Place: func(context.Context) (store.Place, error) { return place(path) },
	}, nil
}

// dsn names the file and the pragmas of each connection to it. FULL flushes the
// log on every commit: what was answered survives a power failure.
func dsn(path string, pragmas ...string) string {
	pragmas = append([]string{
		"busy_timeout(" + busyTimeout + ")", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}, pragmas...)
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

// createFile makes the file with its permissions before SQLite, which gives the
// files beside it the same, and flushes its name to the directory.
func createFile(path string) error {
	const ownerOnly = 0o600
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, ownerOnly)
	if errors.Is(err, fs.ErrExist) {
		info, err := os.Stat(path)
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("it is not a regular file")
		}
		if err != nil {
			return err
		}
		return os.Chmod(path, ownerOnly)
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// classify gives the class of an error by SQLite's result code.
// https://www.sqlite.org/rescode.html
func classify(err error) dormouse.Code {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return dormouse.Internal
	}
	const primary = 0xff // the low byte; the rest refines it
	switch e.Code() & primary {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR:
		return dormouse.Unavailable
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return dormouse.Configuration
	}
	return dormouse.Internal
}

// lost says that a whole group of writes left no trace.
func lost(step string, err error) error {
	return dormouse.Errorf(dormouse.Unavailable, "the database did not %s; nothing was written: %w", step, err)
}

var errClosed = errors.New("the database is closed")
