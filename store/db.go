package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Tx is what a write may do within its transaction.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Writer carries out writes durably. Write runs f in a transaction of its own,
// or in one that is as good as that, and returns once it is committed or has
// left no trace. f may be run more than once; it must use the context it is
// given. What names the write, such as "starting a build of build request 7".
type Writer interface {
	Write(ctx context.Context, what string, f func(context.Context, Tx) error) error
	Close() error
}

// Backend is an opened and migrated database.
type Backend struct {
	Writer Writer
	// Lease is the writer of the lease, so that no other write is in its way; nil
	// is Writer.
	Lease Writer
	// Reads is the pool for reads. New takes it over and closes it.
	Reads *sql.DB
	// Snapshot are the options of a transaction whose reads all see the same
	// moment.
	Snapshot sql.TxOptions
	// ForUpdate and ForShare end a SELECT whose rows must not change until the
	// transaction ends: locking clauses, or nothing where writes are serial.
	ForUpdate, ForShare string
	// Place tells where the database is; nil where nothing is known of it.
	Place func(context.Context) (Place, error)
	// Patience is how long one statement of a read may take, with its rows; 0 is
	// without a limit.
	Patience time.Duration
	// Classify gives the class of an error that came from the driver.
	Classify func(error) dormouse.Code
}

// DB is the durable state of a master. Its methods may be called from any
// goroutine.
type DB struct {
	backend Backend
}

// New makes a DB of an opened database, giving it an identity when it has none.
// It owns the backend from then on, also when it fails.
func New(ctx context.Context, b Backend) (*DB, error) {
	db := &DB{backend: b}
	if err := db.createDeployment(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close waits for the writes that have begun and closes the database. Writes
// that wait for their turn are refused. Calling it again does nothing.
func (db *DB) Close() error {
	err := db.backend.Writer.Close()
	if db.backend.Lease != nil {
		err = errors.Join(err, db.backend.Lease.Close())
	}
	return errors.Join(err, db.backend.Reads.Close())
}

// write runs f in a transaction. What says what it is for, in messages of
// errors that are not f's own.
func (db *DB) write(ctx context.Context, what string, f func(*tx) error) error {
	return db.writeBy(ctx, db.backend.Writer, what, f)
}

// writeLease is write for the lease's own row.
func (db *DB) writeLease(ctx context.Context, what string, f func(*tx) error) error {
	w := db.backend.Lease
	if w == nil {
		w = db.backend.Writer
	}
	return db.writeBy(ctx, w, what, f)
}

func (db *DB) writeBy(ctx context.Context, w Writer, what string, f func(*tx) error) error {
	return db.classify(what, w.Write(ctx, what, func(ctx context.Context, raw Tx) error {
		return f(&tx{ctx: ctx, q: raw, forUpdate: db.backend.ForUpdate, forShare: db.backend.ForShare})
	}))
}

// read runs f on the read pool; each statement sees a moment of its own.
func (db *DB) read(ctx context.Context, what string, f func(*tx) error) error {
	ctx, p := newPatience(ctx, db.backend.Patience)
	defer p.end()
	return db.classify(what, p.explain(f(&tx{ctx: ctx, q: db.backend.Reads, patience: p})))
}

// snapshot runs f on the read pool in a transaction whose statements all see
// the same moment.
func (db *DB) snapshot(ctx context.Context, what string, f func(*tx) error) error {
	ctx, p := newPatience(ctx, db.backend.Patience)
	defer p.end()
	var raw *sql.Tx
	err := p.wait(func() (err error) {
		raw, err = db.backend.Reads.BeginTx(ctx, &db.backend.Snapshot)
		return fromDriver(err)
	})
	if err != nil {
		return db.classify(what, p.explain(err))
	}
	err = f(&tx{ctx: ctx, q: raw, patience: p})
	// Nothing was written, so how the transaction ends does not matter.
	_ = p.wait(raw.Rollback)
	return db.classify(what, p.explain(err))
}

func (db *DB) classify(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*dormouse.Error](err); ok {
		return err
	}
	code := dormouse.Internal
	if _, ok := errors.AsType[*driverError](err); ok {
		code = db.backend.Classify(err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		code = dormouse.Unavailable
	}
	return dormouse.Errorf(code, "%s: %w", what, err)
}
