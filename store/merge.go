package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/dormouse-ci/dormouse"
)

const (
	// smallChunk is the size below which a chunk is worth merging: two such
	// fit into one.
	smallChunk = chunkSize / 2
	// tailRun is how many small chunks may gather at the end of a log before
	// they are merged: what a reader of the newest lines decompresses at most.
	tailRun = 16
	// mergeLeast is how many of them a merge takes at least, so that an append
	// merges at most every eighth time.
	mergeLeast = 8
	// compactRows is how many rows one transaction of a compaction looks at,
	// so that other writes do not wait long for it.
	compactRows = 256
)

func (t *tx) insertChunk(logID int64, c chunk) error {
	_, err := t.exec(`INSERT INTO log_chunks (log_id, first_line, lines, first_byte, bytes, data)
		VALUES ($1, $2, $3, $4, $5, $6)`, logID, c.firstLine, c.lines, c.firstByte, c.bytes, c.data)
	return err
}

func scanChunkSize(row scanner) (c chunk, err error) {
	return c, row.Scan(&c.firstLine, &c.lines, &c.firstByte, &c.bytes)
}

func scanChunk(row scanner) (c chunk, err error) {
	return c, row.Scan(&c.firstLine, &c.lines, &c.firstByte, &c.bytes, &c.data)
}

// chunkAt returns the chunk that holds a line.
func (t *tx) chunkAt(logID, line int64) (chunk, error) {
	c, err := single(t, "the chunk", `SELECT first_line, lines, first_byte, bytes, data FROM log_chunks
		WHERE log_id = $1 AND first_line <= $2 ORDER BY first_line DESC LIMIT 1`, []any{logID, line}, scanChunk)
	if dormouse.CodeOf(err) == dormouse.NotFound || err == nil && line >= c.firstLine+c.lines {
		return chunk{}, fmt.Errorf("%w: line %d is missing", errCorrupt, line)
	}
	return c, err
}

// mergeTail keeps the run of small chunks at the end of a log short. It merges
// the newest ones, and older ones only while they are not much larger than what
// follows them, as a binary counter carries: so however small the appends, each
// byte is rewritten a logarithmic number of times.
func (t *tx) mergeTail(logID int64) error {
	newest, err := all(t, `SELECT first_line, lines, first_byte, bytes FROM log_chunks
		WHERE log_id = $1 ORDER BY first_line DESC LIMIT $2`, []any{logID, tailRun}, scanChunkSize)
	if err != nil || len(newest) < tailRun || slices.ContainsFunc(newest, isLarge) {
		return err
	}
	n, size := 0, int64(0)
	for n < len(newest) && (n < mergeLeast || newest[n].bytes <= 2*size && size+newest[n].bytes <= chunkSize) {
		size += newest[n].bytes
		n++
	}
	run := newest[:n]
	slices.Reverse(run)
	return t.merge(logID, run)
}

func isLarge(c chunk) bool { return c.bytes >= smallChunk }

// merge replaces a run of adjacent chunks by as few as hold their lines.
func (t *tx) merge(logID int64, run []chunk) error {
	first, last := run[0], run[len(run)-1]
	whole, err := all(t, `SELECT first_line, lines, first_byte, bytes, data FROM log_chunks
		WHERE log_id = $1 AND first_line >= $2 AND first_line <= $3 ORDER BY first_line`,
		[]any{logID, first.firstLine, last.firstLine}, scanChunk)
	if err != nil {
		return err
	}
	var lines []dormouse.LogLine
	for _, c := range whole {
		decoded, err := c.decode()
		if err != nil {
			return err
		}
		lines = append(lines, decoded...)
	}
	if _, err := t.exec(`DELETE FROM log_chunks WHERE log_id = $1 AND first_line >= $2 AND first_line <= $3`,
		logID, first.firstLine, last.firstLine); err != nil {
		return err
	}
	line, offset := first.firstLine, first.firstByte
	for _, c := range encodeLines(lines) {
		c.firstLine, c.firstByte = line, offset
		if err := t.insertChunk(logID, c); err != nil {
			return err
		}
		line, offset = line+c.lines, offset+c.bytes
	}
	return nil
}

// compactLog merges what small chunks a complete log still has. The log is
// whole without it, so when it cannot be done, for instance because the master
// is going down, the log merely keeps more rows.
func (o *Owner) compactLog(ctx context.Context, logID int64) {
	for next := int64(0); next >= 0; {
		from := next
		err := o.write(ctx, "compacting "+logName(logID), func(t *tx) (err error) {
			next, err = t.compact(logID, from)
			return err
		})
		if err != nil {
			return
		}
	}
}

// compact merges small chunks among the rows from a line on, and returns the
// line to go on from, -1 at the end.
func (t *tx) compact(logID, from int64) (next int64, err error) {
	rows, err := all(t, `SELECT first_line, lines, first_byte, bytes FROM log_chunks
		WHERE log_id = $1 AND first_line >= $2 ORDER BY first_line LIMIT $3`, []any{logID, from, compactRows}, scanChunkSize)
	if err != nil {
		return 0, err
	}
	for i := 0; i < len(rows); {
		n, size := i, int64(0)
		for n < len(rows) && size+rows[n].bytes <= chunkSize {
			size += rows[n].bytes
			n++
		}
		n = max(n, i+1)
		// The last group may go on in the rows after these.
		if n == len(rows) && len(rows) == compactRows && i > 0 {
			return rows[i].firstLine, nil
		}
		if n-i > 1 {
			if err := t.merge(logID, rows[i:n]); err != nil {
				return 0, err
			}
		}
		i = n
	}
	if len(rows) < compactRows {
		return -1, nil
	}
	return rows[len(rows)-1].firstLine + rows[len(rows)-1].lines, nil
}
