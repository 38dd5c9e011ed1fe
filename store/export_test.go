package store

import "context"

// LogRows returns the sizes of a log's chunks, in order.
func (db *DB) LogRows(ctx context.Context, logID int64) (sizes []int64, err error) {
	err = db.read(ctx, "reading chunks", func(t *tx) (err error) {
		sizes, err = all(t, `SELECT bytes FROM log_chunks WHERE log_id = $1 ORDER BY first_line`, []any{logID}, scanID)
		return err
	})
	return sizes, err
}

// Full is the size a chunk aims for.
const Full = chunkSize

// Forged is an Owner with a fence that nobody was given.
func (o *Owner) Forged(number int64, name string) *Owner {
	return &Owner{db: o.db, fence: fence{number: o.fence.number + number, owner: name}}
}
