package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse/wire"
)

// metadataService is an instance metadata service with these documents below
// latest/meta-data/; the rest is 404.
func metadataService(t *testing.T, documents map[string]string) (asked func() string) {
	t.Helper()
	var mu sync.Mutex
	var paths []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, "token")
			return
		}
		path := strings.TrimPrefix(r.URL.Path, "/latest/meta-data/")
		mu.Lock()
		paths = append(paths, path)
		mu.Unlock()
		text, ok := documents[path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(paths, " ")
	}
}

func TestWatchInterruptions(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name      string
		documents map[string]string
		want      []wire.Notice
		asked     string
	}{
		{
			"on demand",
			map[string]string{"instance-life-cycle": "on-demand", "spot/instance-action": `{"action": "terminate", "time": "2026-03-01T12:00:00Z"}`},
			nil, "instance-life-cycle",
		},
		{"no instance", nil, nil, "instance-life-cycle"},
		{
			"taken",
			map[string]string{"instance-life-cycle": "spot", "spot/instance-action": `{"action": "terminate", "time": "2026-03-01T12:00:00Z"}`},
			[]wire.Notice{{At: at}},
			"instance-life-cycle events/recommendations/rebalance spot/instance-action",
		},
		{
			"recommended, and taken",
			map[string]string{
				"instance-life-cycle": "spot\n", "events/recommendations/rebalance": `{"noticeTime": "2026-03-01T11:58:00Z"}`,
				"spot/instance-action": `{"action": "stop", "time": "2026-03-01T12:00:00Z"}`,
			},
			[]wire.Notice{{Rebalance: true, At: at.Add(-2 * time.Minute)}, {At: at}},
			"instance-life-cycle events/recommendations/rebalance spot/instance-action",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := metadataService(t, tc.documents)
			var got []wire.Notice
			WatchInterruptions(t.Context(), slog.New(slog.DiscardHandler), func(n wire.Notice) { got = append(got, n) })
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if asked() != tc.asked {
				t.Errorf("asked for %q", asked())
			}
		})
	}
}

// TestNoticesAreToldOnEachConnection: also one that came while there was none.
func TestNoticesAreToldOnEachConnection(t *testing.T) {
	first, second := newFakeConn(), newFakeConn()
	for _, c := range []*fakeConn{first, second} {
		c.extensions = wire.Extensions{wire.Interruption}
	}
	ctx, stop := context.WithCancel(t.Context())
	cfg := testConfig(t)
	cfg.MaxDelay = time.Millisecond
	again, taken := wire.Notice{Rebalance: true, At: time.Unix(1, 0)}, wire.Notice{At: time.Unix(2, 0)}
	dropped := make(chan struct{})
	cfg.WatchInterruptions = func(_ context.Context, _ *slog.Logger, tell func(wire.Notice)) {
		tell(again)
		tell(again) // as the metadata have it every time
		<-dropped
		tell(taken)
	}
	told := func(c *fakeConn, n int) func() bool {
		return func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.notices) == n
		}
	}
	first.serve = func() {
		first.await(t, told(first, 1))
		first.drop(errors.New("gone"))
		close(dropped)
	}
	second.serve = func() {
		second.await(t, told(second, 2))
		stop()
	}
	w := testWorker(t, cfg, func(attempt int, _ wire.DialOptions) (conn, error) {
		return []*fakeConn{first, second}[attempt-1], nil
	})
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]wire.Notice{again, taken}, second.notices); diff != "" {
		t.Error(diff)
	}
}
