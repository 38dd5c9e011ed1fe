package master_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/store/storetest"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/worker"
)

// TestStoreWithARunningBuild: a master goes on with what an earlier version has left:
// the build that runs waits for its worker, and is tried again where that comes back
// as another process; what waited is built, and what is over stays as it was.
func TestStoreWithARunningBuild(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	base := filepath.Join(s.dir, "master")
	if err := os.MkdirAll(base, 0o700); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", filepath.Join(base, "dormouse.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	storetest.WriteRunningBuild(t, raw)
	// A file in another place is a copy, which this master is told to go on with.
	m := s.startWith("c['workers'] = [worker.Worker('bot', 'password')]\n"+storetest.RunningBuildSteps+`
c['builders'] = [util.BuilderConfig(name='b', workernames=['bot'], factory=f, collapseRequests=False)]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b'])]
`, func(o *master.Options) { o.AdoptDeployment = true })
	if left := m.Running(); left != 1 {
		t.Errorf("%d builds are gone on with", left)
	}

	work := filepath.Join(s.dir, "bot", "b", "build")
	if err := os.MkdirAll(work, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(work, "gate"))
	w, err := worker.New(worker.Config{
		Master: "ws://" + m.WorkerAddr() + "/", Name: "bot", Password: "password",
		BaseDir: filepath.Join(s.dir, "bot"), MaxDelay: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx)
	}()
	defer func() { cancel(); <-ended }()

	for id, want := range map[int64]dormouse.Result{1: dormouse.Success, 2: dormouse.Success, 3: dormouse.Success, 4: dormouse.Cancelled} {
		if r := m.ended(id); *r.Result != want {
			t.Errorf("request %d: %+v", id, r)
		}
	}
	builds, err := m.Builds(t.Context(), web.BuildQuery{Limit: 10})
	if err != nil || len(builds) != 4 {
		t.Fatalf("%+v, %v", builds, err)
	}
	var results []string
	for _, b := range builds {
		results = append(results, fmt.Sprint(b.Number, " ", b.Result))
	}
	if got := strings.Join(results, ", "); got != "4 success, 3 success, 2 retry, 1 success" {
		t.Errorf("builds: %s", got)
	}
	if text := builds[2].StateString; !strings.Contains(text, "lost connection") {
		t.Errorf("the build that ran ended with %q", text)
	}
}
