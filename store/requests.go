package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

const requestColumns = `id, builder, priority, reason, sources, properties, submitted_at, state,
	build_id, collapsed_into, result, complete_at, interrupted, lost, not_before, parent_build, submit_key`

func scanRequest(row scanner) (dormouse.BuildRequest, error) {
	var r dormouse.BuildRequest
	err := row.Scan(&r.ID, &r.Builder, &r.Priority, &r.Reason, jsonColumn{&r.Sources}, propertiesColumn{&r.Properties},
		timeColumn{&r.SubmittedAt}, &r.State, &r.BuildID, &r.CollapsedInto, &r.Result, timeColumn{&r.CompleteAt}, &r.Interrupted,
		&r.Lost, timeColumn{&r.NotBefore},
		&r.ParentBuildID, &r.Key)
	return r, err
}

func requestName(id int64) string { return fmt.Sprintf("build request %d", id) }

// SubmitRequests stores new pending requests, all or none, and returns them
// with their IDs, in the order given. What a request can only get later (state,
// build, result) is ignored in what is given. Of one whose Key an earlier
// request has, that is returned instead, as it is now: with keys, it may be
// repeated.
func (o *Owner) SubmitRequests(ctx context.Context, requests []dormouse.BuildRequest) ([]dormouse.BuildRequest, error) {
	out := slices.Clone(requests)
	type text struct{ sources, properties string }
	texts := make([]text, len(out))
	for i := range out {
		r := &out[i]
		what := "the request for builder " + r.Builder
		var err error
		if texts[i].sources, err = encodeJSON(what, r.Sources); err != nil {
			return nil, err
		}
		if texts[i].properties, err = encodeJSON(what, r.Properties); err != nil {
			return nil, err
		}
		// The row is what is given, so that it need not be read.
		r.Builder, r.Reason, r.Key = mendText(r.Builder), mendText(r.Reason), mendText(r.Key)
		r.State, r.SubmittedAt = dormouse.RequestPending, stored(r.SubmittedAt)
		r.BuildID, r.CollapsedInto, r.Result, r.CompleteAt, r.Waiting = 0, 0, nil, time.Time{}, ""
		r.Interrupted, r.Lost, r.NotBefore, r.MaxTries = 0, 0, time.Time{}, 0
	}
	err := o.write(ctx, "submitting build requests", func(t *tx) error {
		for i := range out {
			r := &out[i]
			err := t.one(`INSERT INTO requests (builder, priority, reason, sources, properties, submitted_at, state, parent_build, submit_key)
				VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8)
				ON CONFLICT (submit_key) WHERE submit_key <> '' DO NOTHING RETURNING id`,
				[]any{r.Builder, r.Priority, r.Reason, texts[i].sources, texts[i].properties, micros(r.SubmittedAt), r.ParentBuildID, r.Key},
				&r.ID)
			if errors.Is(err, errNoRow) {
				*r, err = single(t, "the request with key "+r.Key, `SELECT `+requestColumns+` FROM requests WHERE submit_key = $1`,
					[]any{r.Key}, scanRequest)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// PendingRequests returns all requests that wait for a build, in the order they
// should get one: highest priority first, then the longest waiting.
func (db *DB) PendingRequests(ctx context.Context) (requests []dormouse.BuildRequest, err error) {
	err = db.read(ctx, "reading the pending build requests", func(t *tx) (err error) {
		requests, err = all(t, `SELECT `+requestColumns+` FROM requests WHERE state = 'pending'
			ORDER BY priority DESC, submitted_at, id`, nil, scanRequest)
		return err
	})
	return requests, err
}

// Request returns one request.
func (db *DB) Request(ctx context.Context, id int64) (r dormouse.BuildRequest, err error) {
	err = db.read(ctx, "reading "+requestName(id), func(t *tx) (err error) {
		r, err = t.request(id, "")
		return err
	})
	return r, err
}

func (t *tx) request(id int64, lock string) (dormouse.BuildRequest, error) {
	return single(t, requestName(id), `SELECT `+requestColumns+` FROM requests WHERE id = $1`+lock, []any{id}, scanRequest)
}

// RequestFilter selects requests; a zero field selects all.
type RequestFilter struct {
	Builder string
	State   dormouse.RequestState
	Parent  int64 // only those that this build made
	Before  int64 // only IDs below
	Limit   int   // 100 when 0, at most 1000
}

// Requests returns requests, newest first.
func (db *DB) Requests(ctx context.Context, f RequestFilter) (requests []dormouse.BuildRequest, err error) {
	var c conditions
	if f.Builder != "" {
		c.add("builder = ", f.Builder)
	}
	if f.State != "" {
		c.add("state = ", string(f.State))
	}
	if f.Parent > 0 {
		c.add("parent_build <> 0 AND parent_build = ", f.Parent)
	}
	if f.Before > 0 {
		c.add("id < ", f.Before)
	}
	query, args := c.query(`SELECT `+requestColumns+` FROM requests`, "id DESC", f.Limit)
	err = db.read(ctx, "reading build requests", func(t *tx) (err error) {
		requests, err = all(t, query, args, scanRequest)
		return err
	})
	return requests, err
}

// Collapse merges the request ID into the request Into, which goes on in its
// place.
type Collapse struct{ ID, Into int64 }

// CollapseRequests completes each request as skipped and links it to the one
// that goes on, all or none. It may be repeated. A request that is not pending, or
// whose survivor is complete or itself, is a [dormouse.Conflict].
func (o *Owner) CollapseRequests(ctx context.Context, collapses []Collapse, now time.Time) (collapsed []dormouse.BuildRequest, err error) {
	err = o.write(ctx, "collapsing build requests", func(t *tx) error {
		collapsed = make([]dormouse.BuildRequest, len(collapses))
		for i, c := range collapses {
			if collapsed[i], err = t.collapse(c, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return collapsed, nil
}

func (t *tx) collapse(c Collapse, now time.Time) (r dormouse.BuildRequest, err error) {
	if c.ID == c.Into {
		return r, dormouse.Errorf(dormouse.Conflict, "%s cannot be collapsed into itself", requestName(c.ID))
	}
	survivor, err := t.request(c.Into, t.forUpdate)
	if err != nil {
		return r, err
	}
	if r, err = t.request(c.ID, ""); err != nil || r.CollapsedInto == c.Into {
		return r, err
	}
	if survivor.State == dormouse.RequestComplete {
		return r, dormouse.Errorf(dormouse.Conflict, "%s cannot be collapsed into %s, which is complete",
			requestName(c.ID), requestName(c.Into))
	}
	return t.completePending(c.ID, dormouse.Skipped, c.Into, now)
}

// CancelRequest completes a pending request as cancelled, and returns it. Any other
// is a [dormouse.Conflict]: a request that was claimed is ended by stopping its
// build. So is one that is cancelled already, also by a try whose answer was lost:
// it is read back.
func (o *Owner) CancelRequest(ctx context.Context, id int64, now time.Time) (r dormouse.BuildRequest, err error) {
	err = o.write(ctx, "cancelling "+requestName(id), func(t *tx) (err error) {
		r, err = t.completePending(id, dormouse.Cancelled, 0, now)
		return err
	})
	return r, err
}

func (t *tx) completePending(id int64, result dormouse.Result, into int64, now time.Time) (dormouse.BuildRequest, error) {
	r, err := single(t, requestName(id), `UPDATE requests SET state = 'complete', result = $2, collapsed_into = $3, complete_at = $4
		WHERE id = $1 AND state = 'pending' RETURNING `+requestColumns, []any{id, int64(result), into, micros(now)}, scanRequest)
	if dormouse.CodeOf(err) == dormouse.NotFound {
		err = t.notPending(id)
	}
	return r, err
}

// notPending says why a request could not be taken from the queue.
func (t *tx) notPending(id int64) error {
	r, err := t.request(id, "")
	if err != nil {
		return err
	}
	return dormouse.Errorf(dormouse.Conflict, "%s is not pending but %s", requestName(id), r.State)
}
