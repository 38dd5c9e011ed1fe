package store

import (
	"context"
	"slices"

	"github.com/dormouse-ci/dormouse"
)

const instanceColumns = `id, account, region, worker, generation, attempt_id, launch, instance_type, zone, market, image_id,
	state, state_reason, launched_at, running_at, attached_at, stopping_at, ended_at, price_per_hour, price_source, taken_at, platform`

const insertInstance = `INSERT INTO instances (` + instanceColumns + `)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)`

func scanInstance(row scanner) (dormouse.Instance, error) {
	var i dormouse.Instance
	err := row.Scan(&i.ID, &i.Account, &i.Region, &i.Worker, &i.Generation, &i.AttemptID, &i.Launch, &i.InstanceType, &i.Zone,
		&i.Market, &i.ImageID, &i.State, &i.StateReason, timeColumn{&i.LaunchedAt}, timeColumn{&i.RunningAt},
		timeColumn{&i.AttachedAt}, timeColumn{&i.StoppingAt}, timeColumn{&i.EndedAt}, &i.PricePerHour, &i.PriceSource,
		timeColumn{&i.TakenAt}, &i.Platform)
	return i, err
}

func instanceArgs(i dormouse.Instance) []any {
	var price any
	if i.PricePerHour != nil {
		price = *i.PricePerHour
	}
	return []any{
		i.ID, i.Account, i.Region, i.Worker, i.Generation, i.AttemptID, i.Launch, i.InstanceType, i.Zone, string(i.Market), i.ImageID,
		string(i.State), i.StateReason, micros(i.LaunchedAt), micros(i.RunningAt), micros(i.AttachedAt),
		micros(i.StoppingAt), micros(i.EndedAt), price, i.PriceSource,
		micros(i.TakenAt), i.Platform,
	}
}

// SaveInstance stores a row of the ledger, replacing what was there.
func (o *Owner) SaveInstance(ctx context.Context, i dormouse.Instance) error {
	return o.write(ctx, "saving instance "+i.ID, func(t *tx) error {
		_, err := t.exec(insertInstance+` ON CONFLICT (id) DO UPDATE SET
			account = excluded.account, region = excluded.region, worker = excluded.worker, generation = excluded.generation,
			attempt_id = excluded.attempt_id, launch = excluded.launch, instance_type = excluded.instance_type, zone = excluded.zone,
			market = excluded.market, image_id = excluded.image_id, state = excluded.state,
			state_reason = excluded.state_reason, launched_at = excluded.launched_at, running_at = excluded.running_at,
			attached_at = excluded.attached_at, stopping_at = excluded.stopping_at, ended_at = excluded.ended_at,
			price_per_hour = excluded.price_per_hour, price_source = excluded.price_source,
			taken_at = excluded.taken_at, platform = excluded.platform`, instanceArgs(i)...)
		return err
	})
}

// claimInstance stores an instance that its attempt started. One that is in the
// ledger already, found in the cloud meanwhile, is only given its attempt. One that
// another attempt has is a [dormouse.ClaimedError].
func (t *tx) claimInstance(i dormouse.Instance) error {
	n, err := t.exec(insertInstance+` ON CONFLICT (id) DO UPDATE SET attempt_id = excluded.attempt_id, launch = excluded.launch,
			worker = excluded.worker, generation = excluded.generation
		WHERE instances.attempt_id IN (0, excluded.attempt_id)`, instanceArgs(i)...)
	if err != nil || n > 0 {
		return err
	}
	known, err := single(t, "instance "+i.ID, `SELECT `+instanceColumns+` FROM instances WHERE id = $1`, []any{i.ID}, scanInstance)
	if err != nil {
		return err
	}
	return &dormouse.Error{Code: dormouse.Internal, Err: &dormouse.ClaimedError{Has: known, Wants: i}}
}

// InstanceFilter selects rows of the ledger; a zero field selects all.
type InstanceFilter struct {
	Live   bool // only those that have not ended
	Worker string
	Limit  int // 100 when 0, at most 1000; ignored with Live, which returns all
}

// Instances returns rows of the ledger, newest launch first.
func (db *DB) Instances(ctx context.Context, f InstanceFilter) (instances []dormouse.Instance, err error) {
	var c conditions
	if f.Worker != "" {
		c.add("worker = ", f.Worker)
	}
	query := `SELECT ` + instanceColumns + ` FROM instances`
	const newest = "launched_at DESC, id DESC"
	var args []any
	if f.Live {
		c.terms = append(c.terms, "state NOT IN ('terminated', 'gone')")
		query, args = c.whole(query, newest)
	} else {
		query, args = c.query(query, newest, f.Limit)
	}
	err = db.read(ctx, "reading the ledger", func(t *tx) (err error) {
		instances, err = all(t, query, args, scanInstance)
		return err
	})
	return instances, err
}

// LiveInstances returns the rows of the ledger that have not ended.
func (db *DB) LiveInstances(ctx context.Context) ([]dormouse.Instance, error) {
	return db.Instances(ctx, InstanceFilter{Live: true})
}

// InstancesOf returns what one of a worker's last generations started, newest
// launch first.
func (db *DB) InstancesOf(ctx context.Context, worker string, generation int64) ([]dormouse.Instance, error) {
	// A worker has few instances at a time; those of its last generation are
	// among the newest.
	newest, err := db.Instances(ctx, InstanceFilter{Worker: worker, Limit: 100})
	return slices.DeleteFunc(newest, func(i dormouse.Instance) bool { return i.Generation != generation }), err
}

// Instance returns one row of the ledger.
func (db *DB) Instance(ctx context.Context, id string) (i dormouse.Instance, err error) {
	err = db.read(ctx, "reading instance "+id, func(t *tx) (err error) {
		i, err = single(t, "instance "+id, `SELECT `+instanceColumns+` FROM instances WHERE id = $1`, []any{id}, scanInstance)
		return err
	})
	return i, err
}
