package fleet

import (
	"context"

	"github.com/dormouse-ci/dormouse"
)

// Lookup returns the ledger's row of an instance, as long as it lives.
func (f *Fleet) Lookup(instanceID string) (dormouse.Instance, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rows[instanceID]
	if r == nil {
		return dormouse.Instance{}, false
	}
	return *r, true
}

// Has reports whether the ledger has an instance of a generation that has not
// ended.
func (f *Fleet) Has(worker string, generation int64) bool {
	return len(f.instancesOf(worker, generation)) > 0
}

// knowsEnd reports whether an instance was seen to have ended, which the store
// may not have yet.
func (f *Fleet) knowsEnd(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, unsaved := f.unsaved[id]
	return unsaved && !r.EndedAt.IsZero()
}

// Awaits reports whether a launch has no answer yet.
func (f *Fleet) Awaits(launch string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.launches[launch]) > 0
}

// InstanceType returns the type of a generation's instance, "" while it has
// none.
func (m *Member) InstanceType(generation int64) string {
	if rows := m.Fleet.instancesOf(m.Worker, generation); len(rows) > 0 {
		return rows[0].InstanceType
	}
	return ""
}

// Alive returns how many instances of the ledger have not ended.
func (f *Fleet) Alive() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rows)
}

// Rows returns the ledger's rows that have not ended.
func (f *Fleet) Rows() []dormouse.Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]dormouse.Instance, 0, len(f.rows))
	for _, r := range f.rows {
		out = append(out, *r)
	}
	return out
}

// Account returns the account with a key, if it was added.
func (f *Fleet) Account(key string) (Cloud, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.accounts[key]
	if a == nil {
		return nil, false
	}
	return a.cloud, true
}

// Fate asks EC2 what has become of an instance, and whether it was taken back for
// its capacity.
func (f *Fleet) Fate(ctx context.Context, instanceID string) (i dormouse.Instance, takenBackByEC2 bool, err error) {
	if r, live := f.Lookup(instanceID); live {
		if of := f.accountOf(r); of != nil {
			if err := of.refresh(ctx); err != nil {
				return r, false, err
			}
		}
	}
	i, live := f.Lookup(instanceID)
	if !live {
		if i, err = f.opt.Store.Instance(ctx, instanceID); err != nil {
			return i, false, err
		}
	}
	return i, takenBack(i), nil
}
