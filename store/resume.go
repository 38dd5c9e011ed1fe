package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/dormouse-ci/dormouse"
)

// Resumable is what is kept of a running build beside the build itself, so that
// a master that was started again can go on with it.
type Resumable struct {
	// Plan stands for the builder's steps and Session for the agent's process,
	// as [Owner.StartBuild] was given them. They are empty where the build cannot
	// go on.
	Plan, Session string
	// StopReason says why the build was asked to stop, "" if it was not.
	StopReason string
	// Progress is of each step that runs, by its id.
	Progress map[int64]string
}

// Resumable returns what is kept of a running build. One that has finished is a
// [dormouse.Conflict].
func (db *DB) Resumable(ctx context.Context, buildID int64) (r Resumable, err error) {
	err = db.snapshot(ctx, "reading how far "+buildName(buildID)+" has come", func(t *tx) error {
		err := t.one(`SELECT plan, session, stop_reason FROM builds WHERE id = $1 AND finished_at = 0`,
			[]any{buildID}, &r.Plan, &r.Session, &r.StopReason)
		if errors.Is(err, errNoRow) {
			return t.buildIsOver(buildID)
		}
		if err != nil {
			return err
		}
		r.Progress = map[int64]string{}
		return t.each(`SELECT id, progress FROM steps WHERE build_id = $1 AND finished_at = 0`, []any{buildID}, func(row scanner) error {
			var id int64
			var progress string
			err := row.Scan(&id, &progress)
			r.Progress[id] = progress
			return err
		})
	})
	return r, err
}

// SetStopReason keeps that a running build was asked to stop; the first reason
// stands. One that has finished is a [dormouse.Conflict].
func (o *Owner) SetStopReason(ctx context.Context, buildID int64, reason string) error {
	return o.write(ctx, "stopping "+buildName(buildID), func(t *tx) error {
		n, err := t.exec(`UPDATE builds SET stop_reason = CASE stop_reason WHEN '' THEN $2 ELSE stop_reason END
			WHERE id = $1 AND finished_at = 0`, buildID, reason)
		if err == nil && n == 0 {
			err = t.buildIsOver(buildID)
		}
		return err
	})
}

// Abandon has nobody go on with a running build: its Session is "" from then
// on. One that has finished is a [dormouse.Conflict].
func (o *Owner) Abandon(ctx context.Context, buildID int64) error {
	return o.write(ctx, "abandoning "+buildName(buildID), func(t *tx) error {
		n, err := t.exec(`UPDATE builds SET session = '' WHERE id = $1 AND finished_at = 0`, buildID)
		if err == nil && n == 0 {
			err = t.buildIsOver(buildID)
		}
		return err
	})
}

// SetProgress keeps how far a running step has come, in the words of whoever
// runs it. A step that has finished is a [dormouse.Conflict].
func (o *Owner) SetProgress(ctx context.Context, stepID int64, progress string) error {
	return o.write(ctx, "keeping how far "+stepName(stepID)+" has come", func(t *tx) error {
		return t.setProgress(stepID, progress)
	})
}

func (t *tx) setProgress(stepID int64, progress string) error {
	n, err := t.exec(`UPDATE steps SET progress = $2 WHERE id = $1 AND finished_at = 0`, stepID, progress)
	if err == nil && n == 0 {
		err = t.stepIsOver(stepID)
	}
	return err
}

// BindSecret keeps the hash of the secret that a generation's agent binds itself
// to, unless there is one already, and returns the one that there is.
func (o *Owner) BindSecret(ctx context.Context, worker string, generation int64, hash string) (bound string, err error) {
	what := fmt.Sprintf("binding generation %d of worker %s to its agent's secret", generation, worker)
	err = o.write(ctx, what, func(t *tx) error {
		err := t.one(`UPDATE generations SET secret = CASE secret WHEN '' THEN $3 ELSE secret END
			WHERE worker = $1 AND number = $2 RETURNING secret`, []any{worker, generation, hash}, &bound)
		if errors.Is(err, errNoRow) {
			return dormouse.Errorf(dormouse.NotFound, "%s: there is no such generation", what)
		}
		return err
	})
	return bound, err
}

// BoundSecret returns the hash that [Owner.BindSecret] has kept, "" if there is
// none.
func (db *DB) BoundSecret(ctx context.Context, worker string, generation int64) (hash string, err error) {
	err = db.read(ctx, "reading whom a generation is bound to", func(t *tx) error {
		err := t.one(`SELECT secret FROM generations WHERE worker = $1 AND number = $2`, []any{worker, generation}, &hash)
		if errors.Is(err, errNoRow) {
			return nil
		}
		return err
	})
	return hash, err
}
