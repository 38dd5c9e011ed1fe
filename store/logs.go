package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dormouse-ci/dormouse"
)

const logColumns = `id, step_id, name, type, lines, bytes, complete`

func scanLog(row scanner) (dormouse.Log, error) {
	var l dormouse.Log
	var complete int64
	err := row.Scan(&l.ID, &l.StepID, &l.Name, &l.Type, &l.Lines, &l.Bytes, &complete)
	l.Complete = complete != 0
	return l, err
}

func logName(id int64) string { return fmt.Sprintf("log %d", id) }

// NewLog creates an empty log of a running step. It may be repeated as long as the
// log is empty; a name that a log of the step has otherwise is a
// [dormouse.Conflict].
func (o *Owner) NewLog(ctx context.Context, stepID int64, name string, kind dormouse.LogType) (l dormouse.Log, err error) {
	err = o.write(ctx, "creating log "+name+" of "+stepName(stepID), func(t *tx) error {
		err := t.one(`SELECT id FROM steps WHERE id = $1 AND finished_at = 0`+t.forShare, []any{stepID}, new(int64))
		if errors.Is(err, errNoRow) {
			return t.stepIsOver(stepID)
		}
		if err != nil {
			return err
		}
		l = dormouse.Log{StepID: stepID, Name: name, Type: kind}
		err = t.one(`INSERT INTO logs (step_id, name, type) VALUES ($1, $2, $3)
			ON CONFLICT (step_id, name) DO NOTHING RETURNING id`, []any{stepID, name, string(kind)}, &l.ID)
		if errors.Is(err, errNoRow) {
			l, err = single(t, "log "+name, `SELECT `+logColumns+` FROM logs WHERE step_id = $1 AND name = $2`,
				[]any{stepID, name}, scanLog)
			if err == nil && (l.Type != kind || l.Lines > 0 || l.Complete) {
				err = dormouse.Errorf(dormouse.Conflict, "%s already has a log %q", stepName(stepID), name)
			}
		}
		return err
	})
	return l, err
}

// AppendLog adds lines to a log, from number first on, and returns it with its new
// counts. In the same step it keeps how far the log's step has come, as
// [Owner.SetProgress] does, unless progress is "". It may be repeated: where the
// log has these lines already, it stays as it is. A log that ends elsewhere is a
// [dormouse.Conflict], as is one that is complete. A line that holds a newline, is
// not valid UTF-8 or is longer than [MaxLine] is [dormouse.Invalid].
func (o *Owner) AppendLog(ctx context.Context, logID, first int64, lines []dormouse.LogLine, progress string) (dormouse.Log, error) {
	what := "appending to " + logName(logID)
	if err := checkLines(what, lines); err != nil {
		return dormouse.Log{}, err
	}
	// Compressed here, not in the transaction, so that writers do not wait for
	// each other's compression.
	chunks := encodeLines(lines)
	var l dormouse.Log
	err := o.write(ctx, what, func(t *tx) (err error) {
		var added chunk
		for _, c := range chunks {
			added.lines, added.bytes = added.lines+c.lines, added.bytes+c.bytes
		}
		l, err = single(t, logName(logID), `UPDATE logs SET lines = lines + $2, bytes = bytes + $3
			WHERE id = $1 AND complete = 0 AND lines = $4 RETURNING `+logColumns,
			[]any{logID, added.lines, added.bytes, first}, scanLog)
		if dormouse.CodeOf(err) == dormouse.NotFound {
			l, err = t.appended(logID, first, lines)
			return err
		}
		if err == nil && progress != "" {
			err = t.setProgress(l.StepID, progress)
		}
		if err != nil || len(chunks) == 0 {
			return err
		}
		line, offset := l.Lines-added.lines, l.Bytes-added.bytes
		for _, c := range chunks {
			c.firstLine, c.firstByte = line, offset
			if err := t.insertChunk(logID, c); err != nil {
				return err
			}
			line, offset = line+c.lines, offset+c.bytes
		}
		return t.mergeTail(logID)
	})
	return l, err
}

// appended returns a log that ends in lines already, from the first on, or says
// why they cannot be added to it.
func (t *tx) appended(id, first int64, lines []dormouse.LogLine) (dormouse.Log, error) {
	l, err := t.log(id)
	switch {
	case err != nil:
		return dormouse.Log{}, err
	case l.Complete:
		return dormouse.Log{}, dormouse.Errorf(dormouse.Conflict, "%s (%s) is complete: nothing can be added to it", logName(id), l.Name)
	}
	there := l.Lines == first+int64(len(lines))
	for there && len(lines) > 0 {
		c, err := t.chunkAt(id, first)
		if err != nil {
			return dormouse.Log{}, err
		}
		stored, err := c.decode()
		if err != nil {
			return dormouse.Log{}, err
		}
		stored = stored[first-c.firstLine:]
		n := min(len(stored), len(lines))
		there = slices.EqualFunc(stored[:n], lines[:n], sameLine)
		first, lines = first+int64(n), lines[n:]
	}
	if !there {
		return dormouse.Log{}, dormouse.Errorf(dormouse.Conflict, "%s (%s) has %d lines: other ones cannot be added from line %d on", logName(id), l.Name, l.Lines, first)
	}
	return l, nil
}

// sameLine compares lines as they are stored.
func sameLine(a, b dormouse.LogLine) bool {
	return a.Stream == b.Stream && a.Text == b.Text && a.Time.UnixMilli() == b.Time.UnixMilli()
}

// CompleteLog says that nothing will be added to a log any more. It may be said
// twice.
func (o *Owner) CompleteLog(ctx context.Context, logID int64) (l dormouse.Log, err error) {
	err = o.write(ctx, "completing "+logName(logID), func(t *tx) (err error) {
		l, err = single(t, logName(logID), `UPDATE logs SET complete = 1 WHERE id = $1 RETURNING `+logColumns, []any{logID}, scanLog)
		return err
	})
	if err == nil {
		o.compactLog(ctx, logID)
	}
	return l, err
}

// Log returns what is known of a log but its lines.
func (db *DB) Log(ctx context.Context, id int64) (l dormouse.Log, err error) {
	err = db.read(ctx, "reading "+logName(id), func(t *tx) (err error) {
		l, err = t.log(id)
		return err
	})
	return l, err
}

func (t *tx) log(id int64) (dormouse.Log, error) {
	return single(t, logName(id), `SELECT `+logColumns+` FROM logs WHERE id = $1`, []any{id}, scanLog)
}

// SearchLogByName returns the log of a step that has a name.
func (db *DB) SearchLogByName(ctx context.Context, stepID int64, name string) (l dormouse.Log, err error) {
	what := fmt.Sprintf("log %q of %s", name, stepName(stepID))
	err = db.read(ctx, "reading "+what, func(t *tx) (err error) {
		l, err = single(t, what, `SELECT `+logColumns+` FROM logs WHERE step_id = $1 AND name = $2`, []any{stepID, name}, scanLog)
		return err
	})
	return l, err
}

// One call of LogLines returns no more than this, so that a reader of a log of
// any size needs little memory.
const (
	maxReadBytes = 1 << 20
	maxReadLines = 20_000 // empty lines take memory, too
)

// LogLines returns lines of a log from number first on (they count from 0), at
// most limit of them. It may return fewer, about 1 MiB of text or 20,000 lines,
// but none only where the log has none: to read on, ask again from first plus
// the number of lines that were returned.
func (db *DB) LogLines(ctx context.Context, logID, first, limit int64) (lines []dormouse.LogLine, err error) {
	if first < 0 || limit < 0 {
		return nil, dormouse.Errorf(dormouse.Invalid, "lines of %s: first (%d) and limit (%d) cannot be negative", logName(logID), first, limit)
	}
	limit = min(limit, maxReadLines)
	err = db.snapshot(ctx, "reading lines of "+logName(logID), func(t *tx) error {
		l, err := t.log(logID)
		if err != nil {
			return err
		}
		end := min(first+limit, l.Lines)
		for left := maxReadBytes; first < end && left > 0; {
			// One at a time: a driver may read a whole result before it gives
			// the first row, and most calls need one chunk or two.
			c, err := t.chunkAt(logID, first)
			if err != nil {
				return err
			}
			decoded, err := c.decode()
			if err != nil {
				return fmt.Errorf("the chunk of lines from %d: %w", c.firstLine, err)
			}
			wanted := decoded[first-c.firstLine : min(end-c.firstLine, c.lines)]
			for _, line := range wanted {
				cost := len(line.Text) + 1
				if cost > left && len(lines) > 0 {
					return nil
				}
				lines = append(lines, line)
				left -= cost
			}
			first += int64(len(wanted))
		}
		return nil
	})
	return lines, err
}
