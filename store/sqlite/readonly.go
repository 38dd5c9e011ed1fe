package sqlite

import (
	"context"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

// OpenReadOnly opens the database in the file at path, which must exist, to look
// into it beside a master that may be using it. It neither changes the file nor
// brings its schema up to date: one that another version of Dormouse wrote may
// give errors where it is read.
func OpenReadOnly(ctx context.Context, path string) (*store.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Configuration, "database %s: %w", path, err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, dormouse.Errorf(dormouse.Configuration, "database %s: %w", path, err)
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: url.Values{
		"mode": {"ro"}, "_pragma": {"busy_timeout(" + busyTimeout + ")", "query_only(1)"},
	}.Encode()}
	reads, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Internal, "opening database %s: %w", path, err)
	}
	db := store.ReadOnly(store.Backend{Reads: reads, Classify: classify})
	if err := reads.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, dormouse.Errorf(classify(err), "opening database %s: %w", path, err)
	}
	return db, nil
}
