package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dormouse-ci/dormouse"
)

const buildColumns = `id, builder, number, request_id, worker, generation, instance_id, try,
	started_at, finished_at, result, state_string`

func scanBuild(row scanner) (dormouse.Build, error) {
	var b dormouse.Build
	err := row.Scan(&b.ID, &b.Builder, &b.Number, &b.RequestID, &b.Worker, &b.Generation, &b.InstanceID, &b.Try,
		timeColumn{&b.StartedAt}, timeColumn{&b.FinishedAt}, &b.Result, &b.StateString)
	return b, err
}

func buildName(id int64) string { return fmt.Sprintf("build %d", id) }

// NewBuild is a build that is about to start.
type NewBuild struct {
	RequestID  int64
	Worker     string
	Generation int64
	InstanceID string
	StartedAt  time.Time
	Properties dormouse.Properties
	// Plan and Session are for [DB.Resumable].
	Plan, Session string
}

// StartBuild claims a pending request and creates its build, with the builder's
// next number, in one step, and returns both. A request that is not pending is a
// [dormouse.Conflict]: it was claimed or ended before. So it is when it is repeated:
// what became of the request is read back.
func (o *Owner) StartBuild(ctx context.Context, n NewBuild) (b dormouse.Build, r dormouse.BuildRequest, err error) {
	what := "starting a build of " + requestName(n.RequestID)
	properties, err := encodeProperties(what, n.Properties)
	if err != nil {
		return b, r, err
	}
	err = o.write(ctx, what, func(t *tx) error {
		r, err = single(t, requestName(n.RequestID), `UPDATE requests SET state = 'claimed' WHERE id = $1 AND state = 'pending'
			RETURNING `+requestColumns, []any{n.RequestID}, scanRequest)
		if dormouse.CodeOf(err) == dormouse.NotFound {
			return t.notPending(n.RequestID)
		}
		if err != nil {
			return err
		}
		b = dormouse.Build{
			Builder: r.Builder, RequestID: r.ID, Worker: mendText(n.Worker), Generation: n.Generation, InstanceID: mendText(n.InstanceID),
			Try: r.Lost + 1, StartedAt: stored(n.StartedAt), Properties: n.Properties.Clone(),
		}
		// The row stays locked until the commit, so numbers have no gaps.
		if err := t.one(`INSERT INTO builders (name, last_number) VALUES ($1, 1)
			ON CONFLICT (name) DO UPDATE SET last_number = builders.last_number + 1 RETURNING last_number`,
			[]any{b.Builder}, &b.Number); err != nil {
			return err
		}
		if err := t.one(`INSERT INTO builds (builder, number, request_id, worker, generation, instance_id, try, started_at, plan, session)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`,
			[]any{b.Builder, b.Number, b.RequestID, b.Worker, b.Generation, b.InstanceID, b.Try, micros(b.StartedAt), n.Plan, n.Session},
			&b.ID); err != nil {
			return err
		}
		r.BuildID = b.ID
		if _, err := t.exec(`UPDATE requests SET build_id = $2 WHERE id = $1`, r.ID, r.BuildID); err != nil {
			return err
		}
		return t.setProperties(b.ID, properties)
	})
	if err != nil {
		return dormouse.Build{}, dormouse.BuildRequest{}, err
	}
	return b, r, nil
}

// Ending is how a build ends, and what that means for its request.
type Ending struct {
	Result      dormouse.Result
	StateString string
	At          time.Time
	// Requeue has the request pending again at its old place in the queue, not to
	// be tried before NotBefore; else it is complete with the result.
	Requeue   bool
	NotBefore time.Time
	// Interrupted and Lost count with the request that EC2 took the build's spot
	// instance back, or that its worker was lost.
	Interrupted, Lost bool
}

// FinishBuild ends a running build, and with it, in the same step, its steps
// that have not finished (they get the build's result), the logs still open,
// and its request. It returns the build, with its properties, and the request. It
// may be repeated; a build that has finished otherwise, or at another time, is a
// [dormouse.Conflict].
func (o *Owner) FinishBuild(ctx context.Context, buildID int64, e Ending) (b dormouse.Build, r dormouse.BuildRequest, err error) {
	var closed []int64
	err = o.write(ctx, "finishing "+buildName(buildID), func(t *tx) (err error) {
		b, err = single(t, buildName(buildID), `UPDATE builds SET finished_at = $2, result = $3, state_string = $4
			WHERE id = $1 AND finished_at = 0 RETURNING `+buildColumns,
			[]any{buildID, finishedAt(e.At), int64(e.Result), e.StateString}, scanBuild)
		switch {
		case dormouse.CodeOf(err) == dormouse.NotFound:
			if b, err = t.buildEnded(buildID, e); err == nil {
				r, err = t.request(b.RequestID, "")
			}
		case err == nil:
			if closed, err = t.finishSteps(buildID, e); err == nil {
				r, err = t.finishRequest(b.RequestID, e)
			}
		}
		if err == nil {
			b.Properties, err = t.properties(buildID)
		}
		return err
	})
	if err != nil {
		return dormouse.Build{}, dormouse.BuildRequest{}, err
	}
	for _, id := range closed {
		o.compactLog(ctx, id)
	}
	return b, r, nil
}

// finishSteps ends the steps of a build that have not finished, and its logs, whose
// ids it returns.
func (t *tx) finishSteps(buildID int64, e Ending) (closed []int64, err error) {
	if _, err := t.exec(`UPDATE steps SET finished_at = $2, result = $3, progress = '' WHERE build_id = $1 AND finished_at = 0`,
		buildID, finishedAt(e.At), int64(e.Result)); err != nil {
		return nil, err
	}
	return all(t, `UPDATE logs SET complete = 1
		WHERE complete = 0 AND step_id IN (SELECT id FROM steps WHERE build_id = $1) RETURNING id`, []any{buildID}, scanID)
}

// finishRequest has a request complete, or pending again, with the end of its build.
func (t *tx) finishRequest(id int64, e Ending) (dormouse.BuildRequest, error) {
	if e.Requeue {
		return single(t, requestName(id), `UPDATE requests SET state = 'pending', interrupted = interrupted + $2, lost = lost + $3, not_before = $4
			WHERE id = $1 RETURNING `+requestColumns, []any{id, flag(e.Interrupted), flag(e.Lost), micros(e.NotBefore)}, scanRequest)
	}
	return single(t, requestName(id), `UPDATE requests SET state = 'complete', result = $2, complete_at = $3, lost = lost + $4
		WHERE id = $1 RETURNING `+requestColumns, []any{id, int64(e.Result), micros(e.At), flag(e.Lost)}, scanRequest)
}

// buildEnded returns a build that has been finished just so, or says why it cannot
// be finished.
func (t *tx) buildEnded(id int64, e Ending) (dormouse.Build, error) {
	b, err := single(t, buildName(id), `SELECT `+buildColumns+` FROM builds WHERE id = $1 AND finished_at = $2 AND result = $3`,
		[]any{id, finishedAt(e.At), int64(e.Result)}, scanBuild)
	if dormouse.CodeOf(err) == dormouse.NotFound {
		err = t.buildIsOver(id)
	}
	return b, err
}

// finishedAt is a time that says that something has finished, so it is never
// the 0 that says it has not.
func finishedAt(t time.Time) int64 { return max(micros(t), 1) }

func scanID(row scanner) (id int64, err error) { return id, row.Scan(&id) }

// SetBuildState changes the text that says what a running build is doing.
func (o *Owner) SetBuildState(ctx context.Context, buildID int64, stateString string) error {
	return o.write(ctx, "setting the state of "+buildName(buildID), func(t *tx) error {
		n, err := t.exec(`UPDATE builds SET state_string = $2 WHERE id = $1 AND finished_at = 0`, buildID, stateString)
		if err == nil && n == 0 {
			err = t.buildIsOver(buildID)
		}
		return err
	})
}

// buildIsOver says why a running build was not found.
func (t *tx) buildIsOver(id int64) error {
	b, err := t.build(id)
	if err != nil {
		return err
	}
	return dormouse.Errorf(dormouse.Conflict, "%s (%s #%d) has already finished", buildName(id), b.Builder, b.Number)
}

// lockRunningBuild keeps a build running until the transaction ends.
func (t *tx) lockRunningBuild(id int64) error {
	err := t.one(`SELECT id FROM builds WHERE id = $1 AND finished_at = 0`+t.forShare, []any{id}, new(int64))
	if errors.Is(err, errNoRow) {
		err = t.buildIsOver(id)
	}
	return err
}

// SetProperties gives properties of a build new values, leaving its others.
func (o *Owner) SetProperties(ctx context.Context, buildID int64, p dormouse.Properties) error {
	what := "setting properties of " + buildName(buildID)
	properties, err := encodeProperties(what, p)
	if err != nil {
		return err
	}
	return o.write(ctx, what, func(t *tx) error {
		if _, err := t.build(buildID); err != nil {
			return err
		}
		return t.setProperties(buildID, properties)
	})
}

type propertyRow struct{ name, value, source string }

// encodeProperties returns rows ordered by name, the order in which every
// transaction locks them.
func encodeProperties(what string, p dormouse.Properties) ([]propertyRow, error) {
	rows := make([]propertyRow, 0, len(p))
	for _, name := range p.Names() {
		value, err := encodeJSON(what+": property "+name, p[name].Value)
		if err != nil {
			return nil, err
		}
		rows = append(rows, propertyRow{name, value, p[name].Source})
	}
	return rows, nil
}

func (t *tx) setProperties(buildID int64, rows []propertyRow) error {
	for _, p := range rows {
		if _, err := t.exec(`INSERT INTO build_properties (build_id, name, value, source) VALUES ($1, $2, $3, $4)
			ON CONFLICT (build_id, name) DO UPDATE SET value = excluded.value, source = excluded.source`,
			buildID, p.name, p.value, p.source); err != nil {
			return err
		}
	}
	return nil
}

// Build returns one build with its properties.
func (db *DB) Build(ctx context.Context, id int64) (b dormouse.Build, err error) {
	err = db.snapshot(ctx, "reading "+buildName(id), func(t *tx) (err error) {
		if b, err = t.build(id); err == nil {
			b.Properties, err = t.properties(id)
		}
		return err
	})
	return b, err
}

// BuildByNumber returns one build with its properties.
func (db *DB) BuildByNumber(ctx context.Context, builder string, number int) (b dormouse.Build, err error) {
	what := fmt.Sprintf("build %d of builder %s", number, builder)
	err = db.snapshot(ctx, "reading "+what, func(t *tx) (err error) {
		b, err = single(t, what, `SELECT `+buildColumns+` FROM builds WHERE builder = $1 AND number = $2`,
			[]any{builder, number}, scanBuild)
		if err == nil {
			b.Properties, err = t.properties(b.ID)
		}
		return err
	})
	return b, err
}

func (t *tx) build(id int64) (dormouse.Build, error) {
	return single(t, buildName(id), `SELECT `+buildColumns+` FROM builds WHERE id = $1`, []any{id}, scanBuild)
}

func (t *tx) properties(buildID int64) (dormouse.Properties, error) {
	p := make(dormouse.Properties)
	err := t.each(`SELECT name, value, source FROM build_properties WHERE build_id = $1`, []any{buildID}, func(row scanner) error {
		var r propertyRow
		if err := row.Scan(&r.name, &r.value, &r.source); err != nil {
			return err
		}
		value, err := decodeValue([]byte(r.value))
		p.Set(r.name, value, r.source)
		return err
	})
	return p, err
}

// BuildFilter selects builds; a zero field selects all.
type BuildFilter struct {
	Builder, Worker string
	Running         *bool
	Before          int64 // only IDs below
	Limit           int   // 100 when 0, at most 1000
}

// Builds returns builds, newest first, without their properties.
func (db *DB) Builds(ctx context.Context, f BuildFilter) ([]dormouse.Build, error) {
	var c conditions
	if f.Builder != "" {
		c.add("builder = ", f.Builder)
	}
	if f.Worker != "" {
		c.add("worker = ", f.Worker)
	}
	if f.Running != nil {
		c.terms = append(c.terms, map[bool]string{true: "finished_at = 0", false: "finished_at <> 0"}[*f.Running])
	}
	if f.Before > 0 {
		c.add("id < ", f.Before)
	}
	query, args := c.query(`SELECT `+buildColumns+` FROM builds`, "id DESC", f.Limit)
	return db.builds(ctx, query, args)
}

// UnfinishedBuilds returns all builds that run, oldest first, without their
// properties.
func (db *DB) UnfinishedBuilds(ctx context.Context) ([]dormouse.Build, error) {
	return db.builds(ctx, `SELECT `+buildColumns+` FROM builds WHERE finished_at = 0 ORDER BY id`, nil)
}

// RetriedBuilds returns the builds of a request that ended as RETRY, the oldest
// first, without their properties.
func (db *DB) RetriedBuilds(ctx context.Context, requestID int64) ([]dormouse.Build, error) {
	return db.builds(ctx, `SELECT `+buildColumns+` FROM builds WHERE request_id = $1 AND result = 5 ORDER BY id`, []any{requestID})
}

func (db *DB) builds(ctx context.Context, query string, args []any) (builds []dormouse.Build, err error) {
	err = db.read(ctx, "reading builds", func(t *tx) (err error) {
		builds, err = all(t, query, args, scanBuild)
		return err
	})
	return builds, err
}
