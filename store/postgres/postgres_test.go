package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/pgcluster"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/postgres"
	"github.com/dormouse-ci/dormouse/store/storetest"
	"go.uber.org/goleak"
)

var (
	server    *pgcluster.Cluster
	databases atomic.Int64 // made
	noServer  error
	inCI      = os.Getenv("CI") == "true"
	startTime = 2 * time.Minute // for initdb on a busy machine
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if storetest.Victim() {
		return m.Run()
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if server, noServer = pgcluster.Start(ctx); noServer != nil && (inCI || !errors.Is(noServer, pgcluster.ErrMissing)) {
		fmt.Fprintln(os.Stderr, noServer)
		return 1
	}
	code := m.Run()
	if server != nil {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

func open(t testing.TB, url string) *store.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), url)
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

func newDatabase(t testing.TB) string {
	t.Helper()
	if server == nil {
		t.Skip(noServer)
	}
	name := "test" + strconv.FormatInt(databases.Add(1), 10)
	if err := server.Create(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return server.URL(name)
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.DB { return open(t, newDatabase(t)) })
}

func TestCrash(t *testing.T) {
	location := ""
	if !storetest.Victim() {
		location = newDatabase(t)
	}
	storetest.Crash(t, location, postgres.Open)
}

// TestOpenTogether has several masters open one new database at once.
func TestOpenTogether(t *testing.T) {
	url := newDatabase(t)
	identities := make([]store.Deployment, 4)
	var wg sync.WaitGroup
	for i := range identities {
		wg.Go(func() {
			db, err := postgres.Open(t.Context(), url)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if identities[i], err = db.Deployment(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, d := range identities {
		if d.ID != identities[0].ID {
			t.Errorf("deployments %q and %q in one database", d.ID, identities[0].ID)
		}
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	url := newDatabase(t)
	if err := open(t, url).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)"); err != nil {
		t.Fatal(err)
	}
	_, err = postgres.Open(t.Context(), url)
	if dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(err.Error(), "99999") {
		t.Errorf("a database of a newer version: %v", err)
	}
}

func TestOpenReadOnly(t *testing.T) {
	url := newDatabase(t)
	db := open(t, url)
	owner, err := db.AcquireLease(t.Context(), "master", time.Minute, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	err = owner.SaveWorker(t.Context(), store.WorkerRecord{Name: "w", State: []byte("{}"), UpdatedAt: time.Now()},
		dormouse.Generation{Worker: "w", Number: 1, Account: "a", Region: "r", OpenedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	read, err := postgres.OpenReadOnly(t.Context(), url) // beside the one that writes
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

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		name, url string
		want      dormouse.Code
	}{
		{"not a URL", "postgres://user:hunter2@host:port/db", dormouse.Configuration},
		{"nobody there", "postgres://user:hunter2@/db?host=" + t.TempDir(), dormouse.Unavailable},
	} {
		_, err := postgres.Open(t.Context(), c.url)
		if dormouse.CodeOf(err) != c.want {
			t.Errorf("%s: %v is %q, want %q", c.name, err, dormouse.CodeOf(err), c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v shows the password", c.name, err)
		}
	}
	if server == nil {
		t.Skip(noServer)
	}
	if _, err := postgres.Open(t.Context(), server.URL("absent")); dormouse.CodeOf(err) != dormouse.Configuration {
		t.Errorf("no such database: %v", err)
	}
}

func Benchmark(b *testing.B) {
	storetest.Benchmark(b, func(t testing.TB) *store.DB { return open(t, newDatabase(t)) })
}
