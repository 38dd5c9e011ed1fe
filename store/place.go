package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Place says where a database is: what tells it from a copy of it, by names such
// as "file" or "disk". What a backend cannot know is left out.
type Place map[string]string

// moved are the names, sorted, of what both places know and what differs.
func (p Place) moved(to Place) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if there, known := to[name]; known && there != p[name] {
			out = append(out, name)
		}
	}
	return out
}

// ErrCopy is in the chain of the error of [DB.CheckPlace].
var ErrCopy = errors.New("this database is a copy")

// CheckPlace refuses, with a [dormouse.Conflict] and [ErrCopy], a database that
// is not where a master last took it: a copied file, a restored dump, a cloned
// disk. The master of the original may be at work, and the instances of the
// deployment be its. A database that no master has taken is no copy.
func (db *DB) CheckPlace(ctx context.Context) error {
	now, err := db.place(ctx)
	if err != nil {
		return err
	}
	var text, host, id string
	var at time.Time
	err = db.read(ctx, "reading where the database was", func(t *tx) error {
		return t.one(`SELECT id, place, host, taken_at FROM deployment`, nil, &id, &text, &host, timeColumn{&at})
	})
	if err != nil || text == "" {
		return err
	}
	var then Place
	if err := json.Unmarshal([]byte(text), &then); err != nil {
		return dormouse.Errorf(dormouse.Internal, "where the database was cannot be read: %w", err)
	}
	moved := then.moved(now)
	if len(moved) == 0 {
		return nil
	}
	return dormouse.Errorf(dormouse.Conflict, "%w: its %s %s not the one that the master on %s took at %s. "+
		"What runs in the cloud for deployment %s may belong to that master",
		ErrCopy, strings.Join(moved, " and its "), isOrAre(len(moved)), host, at.Format(time.RFC3339), id)
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// TakePlace notes that the master on host has the database where it is now.
func (o *Owner) TakePlace(ctx context.Context, host string, at time.Time) error {
	place, err := o.db.place(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(place)
	if err != nil {
		return fmt.Errorf("where the database is: %w", err)
	}
	const what = "noting where the database is"
	return o.write(ctx, what, func(t *tx) error {
		_, err := t.exec(`UPDATE deployment SET place = $1, host = $2, taken_at = $3`, string(text), host, micros(at))
		return err
	})
}

func (db *DB) place(ctx context.Context) (Place, error) {
	if db.backend.Place == nil {
		return Place{}, nil
	}
	ctx, p := newPatience(ctx, db.backend.Patience)
	defer p.end()
	var place Place
	err := p.wait(func() (err error) {
		place, err = db.backend.Place(ctx)
		return fromDriver(err)
	})
	return place, db.classify("asking where the database is", p.explain(err))
}
