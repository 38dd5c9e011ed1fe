package postgres_test

import (
	"bytes"
	"database/sql"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/store"
)

// TestCopies shows what a master takes for a copy of its database.
func TestCopies(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	take := func(url string) {
		t.Helper()
		db := open(t, url)
		owner, err := db.AcquireLease(t.Context(), "here x", time.Hour, time.Now())
		if err == nil {
			err = owner.TakePlace(t.Context(), "here", time.Now())
		}
		if err = errors.Join(err, owner.ReleaseLease(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	isCopy := func(url string) bool {
		t.Helper()
		err := open(t, url).CheckPlace(t.Context())
		if err != nil && !errors.Is(err, store.ErrCopy) {
			t.Fatal(err)
		}
		return err != nil
	}
	if isCopy(url) {
		t.Error("a new database is taken for a copy")
	}
	take(url)
	if isCopy(url) {
		t.Error("another master's takeover is taken for a copy")
	}

	dump, err := exec.Command(program(t, "pg_dump"), url).Output()
	if err != nil {
		t.Fatal(err)
	}
	restore := func(to string) {
		t.Helper()
		psql := exec.Command(program(t, "psql"), "--quiet", "--set", "ON_ERROR_STOP=1", to)
		psql.Stdin = bytes.NewReader(dump)
		if out, err := psql.CombinedOutput(); err != nil {
			t.Fatalf("psql: %v\n%s", err, out)
		}
	}
	copied := newDatabase(t)
	restore(copied)
	if !isCopy(copied) {
		t.Error("a dump restored to another database is not noticed")
	}
	take(copied)
	if isCopy(copied) {
		t.Error("the restored dump is still taken for a copy once it was adopted")
	}

	raw, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.ExecContext(t.Context(), `DROP SCHEMA public CASCADE; CREATE SCHEMA public`); err != nil {
		t.Fatal(err)
	}
	restore(url)
	if !isCopy(url) {
		t.Error("a dump restored in the database's place is not noticed")
	}
}

// program is the path of one of PostgreSQL's.
func program(t *testing.T, name string) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		t.Fatalf("%s is not installed beside the server", name)
	}
	return slices.Max(found)
}
