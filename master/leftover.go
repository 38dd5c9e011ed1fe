package master

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/fleet"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/store"
)

// What an earlier configuration started and the present one does not know must
// be ended all the same: workers that were removed or renamed, accounts and
// regions that no worker uses any more.

// endLeftovers makes the accounts known that only the store remembers, and ends
// the generations of workers that are not configured.
func (m *Master) endLeftovers(ctx context.Context, stored map[string]store.WorkerRecord) error {
	open, err := m.db.Generations(ctx, "", true)
	if err != nil {
		return err
	}
	m.openAccounts(ctx, open)
	for _, g := range open {
		if w := m.now().worker(g.Worker); w != nil && w.latent != nil {
			continue
		}
		cloud, ok := m.fleet.Account(g.Account)
		if !ok {
			m.log.Error("a worker that is not configured any more has left a generation in an account that cannot be reached", "worker", g.Worker, "generation", g.Number, "account", g.Account, "region", g.Region)
			continue
		}
		host, err := m.caretaker(g.Worker, cloud, stored[g.Worker])
		if err != nil {
			return err
		}
		m.log.Warn("ending what a worker that is not configured any more has left", "worker", g.Worker, "generation", g.Number)
		m.caring.Lock()
		m.caretakers[g.Worker] = host
		m.caring.Unlock()
		host.Start()
		host.Post(latent.MasterStops{})
	}
	return nil
}

// openAccounts makes the accounts of earlier workers known to the fleet. Their
// sessions are not stored, since they may hold keys, so that it works for those
// whose credentials the environment or the machine's role has; the others are
// said, at every start, until their session is back or their instances are gone.
func (m *Master) openAccounts(ctx context.Context, open []dormouse.Generation) {
	wanted := map[string]string{} // region by key
	for _, g := range open {
		wanted[g.Account] = g.Region
	}
	live := m.fleet.Rows()
	for _, r := range live {
		wanted[r.Account] = r.Region
	}
	for key, region := range wanted {
		if _, ok := m.fleet.Account(key); ok || key == "" {
			continue
		}
		if a, err := m.account(ctx, config.Session{}, region); err == nil && a.Key() == key {
			m.fleet.AddAccount(a)
			continue
		}
		var ids []string
		for _, r := range live {
			if r.Account == key {
				ids = append(ids, r.ID)
			}
		}
		slices.Sort(ids)
		m.log.Error("the session of an account that still has instances of ours has left the configuration: put it back (a worker with that session is enough) until they are gone, or terminate them by hand",
			"account", key, "region", region, "instances", ids)
	}
}

// hostOf returns who hosts a latent worker's life, nil if nobody does.
func (m *Master) hostOf(name string) *latent.Worker {
	if w := m.hosted(name); w != nil && w.latent != nil {
		return w.latent
	}
	m.caring.Lock()
	defer m.caring.Unlock()
	return m.caretakers[name]
}

// caretaker hosts a worker that is not configured any more, to its end.
func (m *Master) caretaker(name string, cloud fleet.Cloud, record store.WorkerRecord) (*latent.Worker, error) {
	var state latent.State
	if err := json.Unmarshal(record.State, &state); err != nil {
		return nil, fmt.Errorf("the stored state of worker %s cannot be read: %w", name, err)
	}
	member := &fleet.Member{
		Fleet: m.fleet, Worker: name, Cloud: cloud,
		Offerings: func(context.Context) ([]dormouse.Offering, error) {
			return nil, dormouse.Errorf(dormouse.Configuration, "worker %s is not configured any more", name)
		},
	}
	host := latent.NewWorker(latent.Options{
		Name: name,
		// Nothing is started, so that only the pauses of a stop matter.
		Policy:   latent.Policy{MissingTimeout: time.Minute, CheckInterval: time.Minute, Grace: time.Minute},
		Provider: member,
		Save:     m.saveState(name, func(int64) fleet.Cloud { return cloud }),
		Until:    m.insist, Superseded: m.lostStore, Changed: func(latent.State) {},
		Disconnect: func(int64, string) {}, NotifyMissing: func(int64, string) {},
		Log: m.log,
	}, state)
	return host, nil
}

// saveState makes a latent worker's states durable, with the generations that
// they open and close.
func (m *Master) saveState(name string, cloud func(generation int64) fleet.Cloud) func(context.Context, latent.State, []dormouse.Generation) error {
	return func(ctx context.Context, s latent.State, rows []dormouse.Generation) error {
		state, err := json.Marshal(s)
		if err != nil {
			return err
		}
		for i := range rows {
			c := cloud(rows[i].Number)
			rows[i].Account, rows[i].Region = c.Key(), c.Region()
		}
		err = m.owner.SaveWorker(ctx, store.WorkerRecord{
			Name: name, State: state, Generation: s.Generation, Paused: s.Paused, UpdatedAt: time.Now(),
		}, rows...)
		if err == nil {
			m.metrics.opened(rows)
		}
		return err
	}
}
