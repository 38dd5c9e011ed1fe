package store

import (
	"context"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// WorkerRecord is what is kept of a worker. State belongs to the package that
// runs the worker; the store does not look into it.
type WorkerRecord struct {
	Name       string
	State      []byte // JSON
	Generation int64  // the newest
	Paused     bool
	UpdatedAt  time.Time
}

// Workers returns the records of all workers, by name.
func (db *DB) Workers(ctx context.Context) (workers []WorkerRecord, err error) {
	err = db.read(ctx, "reading the workers", func(t *tx) (err error) {
		workers, err = all(t, `SELECT name, state, generation, paused, updated_at FROM workers ORDER BY name`, nil,
			func(row scanner) (WorkerRecord, error) {
				var w WorkerRecord
				var paused int64
				err := row.Scan(&w.Name, &w.State, &w.Generation, &paused, timeColumn{&w.UpdatedAt})
				w.Paused = paused != 0
				return w, err
			})
		return err
	})
	return workers, err
}

// SaveWorker stores a worker's record and the given generations, replacing what
// was there, in one step.
func (o *Owner) SaveWorker(ctx context.Context, w WorkerRecord, generations ...dormouse.Generation) error {
	return o.write(ctx, "saving worker "+w.Name, func(t *tx) error {
		_, err := t.exec(`INSERT INTO workers (name, state, generation, paused, updated_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (name) DO UPDATE SET state = excluded.state, generation = excluded.generation,
				paused = excluded.paused, updated_at = excluded.updated_at`,
			w.Name, string(w.State), w.Generation, flag(w.Paused), micros(w.UpdatedAt))
		if err != nil {
			return err
		}
		for _, g := range generations {
			if _, err := t.exec(`INSERT INTO generations (worker, number, account, region, opened_at, attached_at, closed_at, reason)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
				ON CONFLICT (worker, number) DO UPDATE SET account = excluded.account, region = excluded.region,
					opened_at = excluded.opened_at, attached_at = excluded.attached_at,
					closed_at = excluded.closed_at, reason = excluded.reason`,
				g.Worker, g.Number, g.Account, g.Region, micros(g.OpenedAt), micros(g.AttachedAt), micros(g.ClosedAt), g.Reason,
			); err != nil {
				return err
			}
		}
		return nil
	})
}

// Generations returns the generations of a worker, or of all with an empty
// name, by worker and number; with open only those that were not closed.
func (db *DB) Generations(ctx context.Context, worker string, open bool) (generations []dormouse.Generation, err error) {
	query := `SELECT worker, number, account, region, opened_at, attached_at, closed_at, reason FROM generations WHERE 1 = 1`
	var args []any
	if open {
		query += ` AND closed_at = 0`
	}
	if worker != "" {
		query += ` AND worker = $1`
		args = append(args, worker)
	}
	return db.generations(ctx, query+` ORDER BY worker, number`, args)
}

// NewestGenerations returns the last generations of a worker, at most limit of
// them, the newest last.
func (db *DB) NewestGenerations(ctx context.Context, worker string, limit int) ([]dormouse.Generation, error) {
	newest, err := db.generations(ctx, `SELECT worker, number, account, region, opened_at, attached_at, closed_at, reason FROM generations
		WHERE worker = $1 ORDER BY number DESC LIMIT $2`, []any{worker, limit})
	slices.Reverse(newest)
	return newest, err
}

func (db *DB) generations(ctx context.Context, query string, args []any) (generations []dormouse.Generation, err error) {
	err = db.read(ctx, "reading generations", func(t *tx) (err error) {
		generations, err = all(t, query, args, func(row scanner) (dormouse.Generation, error) {
			var g dormouse.Generation
			err := row.Scan(&g.Worker, &g.Number, &g.Account, &g.Region, timeColumn{&g.OpenedAt},
				timeColumn{&g.AttachedAt}, timeColumn{&g.ClosedAt}, &g.Reason)
			return g, err
		})
		return err
	})
	return generations, err
}
