package store

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Deployment is the identity of an installation: of all masters that ever used
// one database. What it starts in the cloud is tagged with its ID.
type Deployment struct {
	ID  string // 12 characters of lower-case base32
	Key []byte // 32 random bytes, from which secrets are derived; never shown
}

// createDeployment gives a new database its identity.
func (db *DB) createDeployment(ctx context.Context) error {
	const idLength, keyLength = 12, 32
	var id [8]byte // 12 characters of base32 take 60 bits
	key := make([]byte, keyLength)
	rand.Read(id[:])
	rand.Read(key)
	name := strings.ToLower(base32.StdEncoding.EncodeToString(id[:]))[:idLength]
	if _, err := db.Deployment(ctx); dormouse.CodeOf(err) != dormouse.NotFound {
		return err
	}
	return db.write(ctx, "creating the deployment", func(t *tx) error {
		_, err := t.exec(`INSERT INTO deployment (one, id, key) VALUES (1, $1, $2) ON CONFLICT (one) DO NOTHING`, name, key)
		return err
	})
}

// Deployment returns the identity that the database was given when it was first
// opened.
func (db *DB) Deployment(ctx context.Context) (Deployment, error) {
	var d Deployment
	err := db.read(ctx, "reading the deployment", func(t *tx) (err error) {
		d, err = single(t, "the deployment", `SELECT id, key FROM deployment`, nil, func(row scanner) (d Deployment, err error) {
			return d, row.Scan(&d.ID, &d.Key)
		})
		return err
	})
	return d, err
}

// Fence is the right to write of the master that has the lease. The number grows
// with each change of ownership; the owner is compared, too, because a database
// that fails over to a replica which lags behind gives a number twice.
type Fence struct {
	Number int64
	Owner  string // of the lease; it names one process
}

// AcquireLease makes owner the master of the database until ttl after now, and
// returns the fence that its writes must carry. Owner must name one process,
// not only a machine: it may take its own unexpired lease again (the old fence
// is void then), so an acquisition whose answer was lost can be repeated. While
// another's lease is unexpired it is refused with a [dormouse.Conflict] that says
// whose it is and until when.
func (db *DB) AcquireLease(ctx context.Context, owner string, ttl time.Duration, now time.Time) (Fence, error) {
	owner = mendText(owner)
	fence := Fence{Owner: owner}
	err := db.writeLease(ctx, "acquiring the master lease", func(t *tx) error {
		if owner == "" {
			return dormouse.Errorf(dormouse.Invalid, "a master lease needs an owner")
		}
		var holder string
		var expires time.Time
		if err := t.one(`SELECT owner, expires_at FROM lease`+t.forUpdate, nil, &holder, timeColumn{&expires}); err != nil {
			return err
		}
		if holder != owner && now.Before(expires) {
			return dormouse.Errorf(dormouse.Conflict,
				"master %s holds the lease of this database until %s: stop it, or wait", holder, expires.Format(time.RFC3339))
		}
		return t.one(`UPDATE lease SET fence = fence + 1, owner = $1, expires_at = $2 RETURNING fence`,
			[]any{owner, micros(now.Add(ttl))}, &fence.Number)
	})
	if err != nil {
		return Fence{}, err
	}
	return fence, nil
}

// RenewLease extends the lease to ttl after now. It may be repeated. A
// [dormouse.Conflict] says that another master has taken it: the caller must
// stop.
func (db *DB) RenewLease(ctx context.Context, fence Fence, ttl time.Duration, now time.Time) error {
	const what = "renewing the master lease"
	return db.writeLease(ctx, what, func(t *tx) error {
		n, err := t.exec(`UPDATE lease SET expires_at = $3 WHERE fence = $1 AND owner = $2 AND owner <> ''`,
			fence.Number, fence.Owner, micros(now.Add(ttl)))
		if err == nil && n == 0 {
			err = superseded(what)
		}
		return err
	})
}

// ReleaseLease ends the mastership at once; the fence is void from then on. It
// may be repeated as long as nobody else has acquired the lease.
func (db *DB) ReleaseLease(ctx context.Context, fence Fence) error {
	const what = "releasing the master lease"
	return db.writeLease(ctx, what, func(t *tx) error {
		n, err := t.exec(`UPDATE lease SET fence = fence + 1, owner = '', expires_at = 0
			WHERE fence = $1 AND owner = $2 AND owner <> ''`, fence.Number, fence.Owner)
		if err != nil || n > 0 {
			return err
		}
		err = t.one(`SELECT fence FROM lease WHERE fence = $1 AND owner = ''`, []any{fence.Number + 1}, new(int64))
		if errors.Is(err, errNoRow) {
			err = superseded(what)
		}
		return err
	})
}

// checkFence refuses a write of a master that was superseded, and keeps the
// lease from changing hands until the transaction ends.
func (t *tx) checkFence(fence Fence, what string) error {
	var current Fence
	if err := t.one(`SELECT fence, owner FROM lease`+t.forShare, nil, &current.Number, &current.Owner); err != nil {
		return err
	}
	if current != fence || current.Owner == "" {
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
