// Package postgres keeps a master's state in a PostgreSQL database.
//
// Every write is a transaction of its own on a pool of connections. Transactions
// run in READ COMMITTED; the store's statements lock the rows they decide on
// (SELECT … FOR UPDATE or FOR SHARE, or the UPDATE itself), so what SQLite gets
// from writing one at a time holds here, too. A transaction that PostgreSQL
// ends as a deadlock's victim or for a serialization failure has left no trace
// and is run again.
//
// # Connections that break
//
// A write has 10 seconds, and each statement of a read as many; a connection that
// has not answered by then is closed. What is known of the write then depends on
// how far it came:
//
//	BEGIN … statements … │ COMMIT sent ……… │ answer
//	nothing was written  │ who knows       │ what it says
//	Unavailable          │ Unanswered      │
//
// Of the answers to COMMIT, an ERROR says that nothing was written. All else, such
// as the FATAL of a server that shuts down or of a pooler that has lost its
// server, says nothing of the transaction, and is no answer. The lease has a
// connection of its own, and 2 seconds, so that no other write is in its way.
//
// A server cannot tell a silent client from one that is gone either, and keeps the
// locks of its transaction. It is told to end one that says nothing for 5 seconds,
// or whose machine has vanished; and the next write ends the sessions of those
// that fell silent before it.
package postgres

import (
	"context"
	"database/sql"
	"errors"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/migrations"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	b, err := Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	return store.New(ctx, b)
}

// Connect is Open without the [store.DB], which [store.New] makes of a backend.
func Connect(ctx context.Context, url string) (store.Backend, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		// The driver leaves passwords out of this error.
		return store.Backend{}, dormouse.Errorf(dormouse.Configuration, "PostgreSQL: %w", err)
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "dormouse"
	}
	return connect(ctx, config, usual)
}

func connect(ctx context.Context, config *pgx.ConnConfig, l limits) (store.Backend, error) {
	harden(config, l)
	name := "PostgreSQL database " + config.Database + " on " + config.Host
	writes := pool(config, l, connections, endStanding(l.write/2))
	if err := migrate(ctx, writes, name); err != nil {
		return store.Backend{}, errors.Join(notOpened(name, err), writes.Close())
	}
	reads := pool(config, l, connections)
	gone := &silent{}
	return store.Backend{
		Writer:    &writer{writes, l.write, gone},
		Lease:     &writer{pool(config, l, 1, endStanding(l.lease/2)), l.lease, gone},
		Reads:     reads,
		Place:     func(ctx context.Context) (store.Place, error) { return place(ctx, reads) },
		Patience:  l.read,
		Snapshot:  sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		ForUpdate: " FOR UPDATE",
		ForShare:  " FOR SHARE",
		Classify:  classify,
	}, nil
}

// notOpened says why a database could not be opened. What is wrong with its name
// or the account is the configuration's fault here, and only here: a database
// that was open and refuses us has been changed, and may be changed back.
func notOpened(name string, err error) error {
	if _, ok := errors.AsType[*dormouse.Error](err); ok {
		return err
	}
	code := classify(err)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch class(e) {
		case "28", "3D", "42": // refused by authorization, no such database, no permission
			code = dormouse.Configuration
		}
	}
	return dormouse.Errorf(code, "opening %s: %w", name, err)
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
	l := usual
	harden(config, l)
	reads := pool(config, l, connections)
	db := store.ReadOnly(store.Backend{
		Reads: reads, Patience: l.read, Snapshot: sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, Classify: classify,
	})
	if err := reads.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, notOpened("PostgreSQL database "+config.Database+" on "+config.Host, err)
	}
	return db, nil
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
