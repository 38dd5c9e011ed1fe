package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dormouse-ci/dormouse"
)

const stepColumns = `id, build_id, position, name, started_at, finished_at, result, state_string, hidden`

func scanStep(row scanner) (dormouse.Step, error) {
	var s dormouse.Step
	var hidden int64
	err := row.Scan(&s.ID, &s.BuildID, &s.Index, &s.Name, timeColumn{&s.StartedAt}, timeColumn{&s.FinishedAt},
		&s.Result, &s.StateString, &hidden)
	s.Hidden = hidden != 0
	return s, err
}

func stepName(id int64) string { return fmt.Sprintf("step %d", id) }

// StartStep stores a step that starts now and returns it with its ID. The build
// must be running, and Index be free in it; else it is a [dormouse.Conflict]. It
// may be repeated: a step that began with the same name at the same time is the
// one.
func (o *Owner) StartStep(ctx context.Context, s dormouse.Step) (dormouse.Step, error) {
	s.StartedAt, s.FinishedAt, s.Result, s.Logs = stored(s.StartedAt), time.Time{}, nil, nil
	err := o.write(ctx, "starting a step of "+buildName(s.BuildID), func(t *tx) error {
		if err := t.lockRunningBuild(s.BuildID); err != nil {
			return err
		}
		err := t.one(`INSERT INTO steps (build_id, position, name, started_at, state_string, hidden)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (build_id, position) DO NOTHING RETURNING id`,
			[]any{s.BuildID, s.Index, s.Name, micros(s.StartedAt), s.StateString, flag(s.Hidden)}, &s.ID)
		if errors.Is(err, errNoRow) {
			err = t.one(`SELECT id FROM steps WHERE build_id = $1 AND position = $2 AND name = $3 AND started_at = $4 AND finished_at = 0`,
				[]any{s.BuildID, s.Index, s.Name, micros(s.StartedAt)}, &s.ID)
		}
		if errors.Is(err, errNoRow) {
			return dormouse.Errorf(dormouse.Conflict, "%s already has a step at index %d", buildName(s.BuildID), s.Index)
		}
		return err
	})
	return s, err
}

// FinishStep ends a running step, and returns it without its logs. They stay as
// they are: they are completed one by one, or by the end of the build. It may be repeated; a step that has
// finished otherwise, or at another time, is a [dormouse.Conflict].
func (o *Owner) FinishStep(ctx context.Context, stepID int64, result dormouse.Result, stateString string, hidden bool, at time.Time) (s dormouse.Step, err error) {
	err = o.write(ctx, "finishing "+stepName(stepID), func(t *tx) (err error) {
		s, err = single(t, stepName(stepID), `UPDATE steps SET finished_at = $2, result = $3, state_string = $4, hidden = $5, progress = ''
			WHERE id = $1 AND (finished_at = 0 OR finished_at = $2 AND result = $3) RETURNING `+stepColumns,
			[]any{stepID, finishedAt(at), int64(result), stateString, flag(hidden)}, scanStep)
		if dormouse.CodeOf(err) == dormouse.NotFound {
			err = t.stepIsOver(stepID)
		}
		return err
	})
	return s, err
}

// stepIsOver says why a running step was not found.
func (t *tx) stepIsOver(id int64) error {
	s, err := single(t, stepName(id), `SELECT `+stepColumns+` FROM steps WHERE id = $1`, []any{id}, scanStep)
	if err != nil {
		return err
	}
	return dormouse.Errorf(dormouse.Conflict, "%s (%s) has already finished", stepName(id), s.Name)
}

// Steps returns the steps of a build in order, each with its logs.
func (db *DB) Steps(ctx context.Context, buildID int64) (steps []dormouse.Step, err error) {
	err = db.snapshot(ctx, "reading the steps of "+buildName(buildID), func(t *tx) error {
		if _, err := t.build(buildID); err != nil {
			return err
		}
		steps, err = all(t, `SELECT `+stepColumns+` FROM steps WHERE build_id = $1 ORDER BY position`, []any{buildID}, scanStep)
		if err != nil {
			return err
		}
		byID := make(map[int64]*dormouse.Step, len(steps))
		for i := range steps {
			byID[steps[i].ID] = &steps[i]
		}
		return t.each(`SELECT `+logColumns+` FROM logs WHERE step_id IN (SELECT id FROM steps WHERE build_id = $1) ORDER BY id`,
			[]any{buildID}, func(row scanner) error {
				l, err := scanLog(row)
				if step := byID[l.StepID]; step != nil {
					step.Logs = append(step.Logs, l)
				}
				return err
			})
	})
	return steps, err
}
