package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/sqlite"
	"github.com/dormouse-ci/dormouse/store/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.DB {
		return open(t, filepath.Join(t.TempDir(), "state.sqlite"))
	})
}
