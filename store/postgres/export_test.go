package postgres

import (
	"context"
	"time"

	"github.com/dormouse-ci/dormouse/store"
	"github.com/jackc/pgx/v5"
)

// OpenImpatient is Open with limits of so long for all that the server does.
func OpenImpatient(ctx context.Context, url string, limit time.Duration) (*store.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	b, err := connect(ctx, config, limits{write: limit, lease: limit, read: limit, connect: limit, ping: limit})
	if err != nil {
		return nil, err
	}
	return store.New(ctx, b)
}

var (
	Classify  = classify
	Committed = committed
)
