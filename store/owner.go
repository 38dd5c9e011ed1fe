package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Owner is the right to write of the master that holds the database's lease.
// Every write that only a master may do is a method of it, and goes through only
// as long as no other master has taken the lease. Its methods may be called from
// any goroutine.
type Owner struct {
	db    *DB
	fence fence
	log   *slog.Logger // nil: slog.Default()
}

// fence tells one ownership from every other. The number grows with each change
// of ownership; the name is compared, too, because a database that fails over to
// a replica which lags behind gives a number twice.
type fence struct {
	number int64
	owner  string // of the lease; it names one process
}

// DB returns the database that is owned, for reads.
func (o *Owner) DB() *DB { return o.db }

// SetLogger says where [Owner.Until] logs what it tries again. It is called before
// the first use; without it, that is [slog.Default].
func (o *Owner) SetLogger(log *slog.Logger) { o.log = log }

// AcquireLease makes the process called name the master of the database until ttl
// after now. The name must be of one process, not only of a machine: a process may
// take its own unexpired lease again (its earlier Owner is void then), so an
// acquisition whose answer was lost can be repeated. While another's lease is
// unexpired it is refused with a [dormouse.Conflict] that says whose it is and
// until when.
func (db *DB) AcquireLease(ctx context.Context, name string, ttl time.Duration, now time.Time) (*Owner, error) {
	name = mendText(name)
	o := &Owner{db: db, fence: fence{owner: name}}
	err := db.writeLease(ctx, "acquiring the master lease", func(t *tx) error {
		if name == "" {
			return dormouse.Errorf(dormouse.Invalid, "a master lease needs an owner")
		}
		var holder string
		var expires time.Time
		if err := t.one(`SELECT owner, expires_at FROM lease`+t.forUpdate, nil, &holder, timeColumn{&expires}); err != nil {
			return err
		}
		if holder != name && now.Before(expires) {
			return dormouse.Errorf(dormouse.Conflict,
				"master %s holds the lease of this database until %s: stop it, or wait", holder, expires.Format(time.RFC3339))
		}
		return t.one(`UPDATE lease SET fence = fence + 1, owner = $1, expires_at = $2 RETURNING fence`,
			[]any{name, micros(now.Add(ttl))}, &o.fence.number)
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// RenewLease extends the lease to ttl after now. It may be repeated. A
// [dormouse.Conflict] says that another master has taken it: the caller must
// stop.
func (o *Owner) RenewLease(ctx context.Context, ttl time.Duration, now time.Time) error {
	const what = "renewing the master lease"
	return o.db.writeLease(ctx, what, func(t *tx) error {
		n, err := t.exec(`UPDATE lease SET expires_at = $3 WHERE fence = $1 AND owner = $2 AND owner <> ''`,
			o.fence.number, o.fence.owner, micros(now.Add(ttl)))
		if err == nil && n == 0 {
			err = superseded(what)
		}
		return err
	})
}

// ReleaseLease ends the ownership at once: every later write of the Owner is
// refused. It may be repeated as long as no other master has acquired the lease.
func (o *Owner) ReleaseLease(ctx context.Context) error {
	const what = "releasing the master lease"
	return o.db.writeLease(ctx, what, func(t *tx) error {
		n, err := t.exec(`UPDATE lease SET fence = fence + 1, owner = '', expires_at = 0
			WHERE fence = $1 AND owner = $2 AND owner <> ''`, o.fence.number, o.fence.owner)
		if err != nil || n > 0 {
			return err
		}
		err = t.one(`SELECT fence FROM lease WHERE fence = $1 AND owner = ''`, []any{o.fence.number + 1}, new(int64))
		if errors.Is(err, errNoRow) {
			err = superseded(what)
		}
		return err
	})
}

// write runs f in a transaction that only the present owner of the lease may
// make.
func (o *Owner) write(ctx context.Context, what string, f func(*tx) error) error {
	return o.db.write(ctx, what, func(t *tx) error {
		if err := t.checkFence(o.fence, what); err != nil {
			return err
		}
		return f(t)
	})
}

// checkFence refuses a write of a master that was superseded, and keeps the
// lease from changing hands until the transaction ends.
func (t *tx) checkFence(f fence, what string) error {
	var current fence
	if err := t.one(`SELECT fence, owner FROM lease`+t.forShare, nil, &current.number, &current.owner); err != nil {
		return err
	}
	if current != f || current.owner == "" {
		return superseded(what)
	}
	return nil
}

// ErrSuperseded is in the chain of the error that a write of a master returns
// which no longer holds the lease: it must stop.
var ErrSuperseded = errors.New("this master no longer holds the lease of the database")

func superseded(what string) error {
	return dormouse.Errorf(dormouse.Conflict, "%s: %w: it must stop", what, ErrSuperseded)
}
