package sqlite_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/sqlite"
	"github.com/dormouse-ci/dormouse/store/storetest"
)

// TestFile checks who may read the files of an open database, at a path with
// characters that mean something in a URL.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a b%20?c#d.sqlite")
	db := open(t, path)
	if _, err := db.AcquireLease(t.Context(), "test", time.Hour, time.Now()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(f.Name(), filepath.Base(path)) || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
	before, err := db.Deployment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := open(t, path).Deployment(t.Context())
	if err != nil || after.ID != before.ID || string(after.Key) != string(before.Key) {
		t.Errorf("opened again, the deployment is %q, was %q (%v)", after.ID, before.ID, err)
	}
}

func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer")
	if err := open(t, newer).Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", newer)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, says string }{
		{"of a newer version", newer, "99999"},
		{"not a database", text, "not a database"},
		{"in no directory", filepath.Join(dir, "absent", "db"), "no such file"},
		{"a directory", dir, dir},
	} {
		_, err := sqlite.Open(t.Context(), c.path)
		if dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%s)", c.name, err, dormouse.CodeOf(err))
		}
	}
}

func Benchmark(b *testing.B) {
	storetest.Benchmark(b, func(t testing.TB) *store.DB { return open(t, filepath.Join(t.TempDir(), "state.sqlite")) })
}
