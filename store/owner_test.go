package store_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/sqlite"
)

// TestForgedOwners: number and name of an Owner must both be the lease's.
func TestForgedOwners(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "state.sqlite"))
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	owner, err := db.AcquireLease(ctx, "master", time.Hour, time.Now())
	check(t, err)
	try := func(o *store.Owner) []error {
		return []error{
			o.SaveWorker(ctx, store.WorkerRecord{Name: "w", State: []byte("{}")}),
			o.RenewLease(ctx, time.Hour, time.Now()),
			o.ReleaseLease(ctx),
		}
	}
	refused := func(name string, o *store.Owner) {
		t.Helper()
		for i, err := range try(o) {
			if !errors.Is(err, store.ErrSuperseded) {
				t.Errorf("%s, write %d: %v", name, i, err)
			}
		}
	}
	for name, o := range map[string]*store.Owner{
		"an earlier fence": owner.Forged(-1, "master"),
		"a later fence":    owner.Forged(100, "master"),
		// As after a failover to a replica that had not heard of the first election.
		"the same fence of another": owner.Forged(0, "other"),
		"no name":                   owner.Forged(0, ""),
	} {
		refused(name, o)
	}
	check(t, errors.Join(try(owner)...))
	refused("the fence of a release", owner.Forged(1, ""))
}
