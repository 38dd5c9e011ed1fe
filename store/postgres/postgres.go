// Package postgres keeps a master's state in a PostgreSQL database.
//
// Every write is a transaction of its own on a pool of connections. Transactions
// run in READ COMMITTED; the store's statements lock the rows they decide on
// (SELECT … FOR UPDATE or FOR SHARE, or the UPDATE itself), so what SQLite gets
// from writing one at a time holds here, too. A transaction that PostgreSQL
// ends as a deadlock's victim or for a serialization failure has left no trace
// and is run again.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/migrations"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// connections is the size of each of the two pools, for reads and for writes: a
// small part of the 100 that a server allows by default, and enough to keep a
// few cores and one disk of it busy.
const connections = 8

// Open connects to the database that a URL or a keyword/value string names and
// brings its schema up to date; masters that do so at the same time wait for
// each other. A database that a newer Dormouse wrote is refused with a
// [dormouse.Configuration] error.
func Open(ctx context.Context, url string) (*store.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		// The driver leaves passwords out of this error.
		return nil, dormouse.Errorf(dormouse.Configuration, "PostgreSQL: %w", err)
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "dormouse"
	}
	name := "PostgreSQL database " + config.Database + " on " + config.Host
	writes := pool(config)
	if err := migrate(ctx, writes, name); err != nil {
		if _, ok := errors.AsType[*dormouse.Error](err); !ok {
			err = dormouse.Errorf(classify(err), "opening %s: %w", name, err)
		}
		return nil, errors.Join(err, writes.Close())
	}
	reads := pool(config)
	return store.New(ctx, store.Backend{
		Writer:    &writer{writes},
		Reads:     reads,
		Place:     func(ctx context.Context) (store.Place, error) { return place(ctx, reads) },
		Snapshot:  sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		ForUpdate: " FOR UPDATE",
		ForShare:  " FOR SHARE",
		Classify:  classify,
	})
}

// OpenReadOnly connects to a database to look into it beside the masters that may
// be using it. It neither changes anything nor brings the schema up to date: one
// that another version of Dormouse wrote may give errors where it is read.
func OpenReadOnly(ctx context.Context, url string) (*store.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Configuration, "PostgreSQL: %w", err)
	}
	config.RuntimeParams["default_transaction_read_only"] = "on"
	reads := pool(config)
	db := store.ReadOnly(store.Backend{
		Reads: reads, Snapshot: sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, Classify: classify,
	})
	if err := reads.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, dormouse.Errorf(classify(err), "opening PostgreSQL database %s on %s: %w", config.Database, config.Host, err)
	}
	return db, nil
}

func pool(config *pgx.ConnConfig) *sql.DB {
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db
}

func migrate(ctx context.Context, db *sql.DB, name string) error {
	// Another master's migration is waited for: asked every second, for five
	// minutes.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return err
	}
	return migrations.Up(ctx, migrations.Postgres, db, name, goose.WithSessionLocker(locker))
}

// classify gives the class of an error by its SQLSTATE.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func classify(err error) dormouse.Code {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch class := e.Code[:min(2, len(e.Code))]; class {
		case "08", "40", "53", "57": // connection, rolled back, out of resources, shutting down
			return dormouse.Unavailable
		case "28", "3D", "42": // refused by authorization, no such database, no permission
			return dormouse.Configuration
		}
		return dormouse.Internal
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || broken(err) {
		return dormouse.Unavailable
	}
	return dormouse.Internal
}

// broken reports whether the connection failed, so that an answer may be lost.
func broken(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}
