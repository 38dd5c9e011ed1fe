package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/dormouse-ci/dormouse/store/sqlite"
	"github.com/dormouse-ci/dormouse/store/storetest"
)

func TestCrash(t *testing.T) {
	storetest.Crash(t, filepath.Join(t.TempDir(), "state.sqlite"), sqlite.Open)
}
