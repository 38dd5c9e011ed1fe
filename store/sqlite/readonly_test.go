package sqlite_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/sqlite"
)

func TestOpenReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.sqlite")
	if _, err := sqlite.OpenReadOnly(t.Context(), path); !errors.Is(err, fs.ErrNotExist) || dormouse.CodeOf(err) != dormouse.Configuration {
		t.Errorf("a file that is not there: %v", err)
	}
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	owner, err := db.AcquireLease(t.Context(), "master", time.Minute, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	err = owner.SaveWorker(t.Context(), store.WorkerRecord{Name: "w", State: []byte("{}"), UpdatedAt: time.Now()},
		dormouse.Generation{Worker: "w", Number: 1, Account: "a", Region: "r", OpenedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	read, err := sqlite.OpenReadOnly(t.Context(), path) // beside the one that writes
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	generations, err := read.Generations(t.Context(), "", true)
	if err != nil || len(generations) != 1 || generations[0].Account != "a" {
		t.Errorf("generations: %v, %v", generations, err)
	}
	if _, err := read.AcquireLease(t.Context(), "master", time.Minute, time.Now()); dormouse.CodeOf(err) != dormouse.Internal {
		t.Errorf("it was written to: %v", err)
	}
}
