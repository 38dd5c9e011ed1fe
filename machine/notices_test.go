package machine

import (
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
	metadataServer(t, func(path string) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, path)
		text, ok := documents[path]
		return text, ok
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(paths, " ")
	}
}

// metadataServer is one whose documents answer tells, to one question at a time.
func metadataServer(t *testing.T, answer func(path string) (string, bool)) {
	t.Helper()
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, "token")
			return
		}
		mu.Lock()
		text, ok := answer(strings.TrimPrefix(r.URL.Path, "/latest/meta-data/"))
		mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
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
			"instance-life-cycle spot/instance-action",
		},
		{
			"recommended, and taken: the announcement is what counts",
			map[string]string{
				"instance-life-cycle": "spot\n", "events/recommendations/rebalance": `{"noticeTime": "2026-03-01T11:58:00Z"}`,
				"spot/instance-action": `{"action": "stop", "time": "2026-03-01T12:00:00Z"}`,
			},
			[]wire.Notice{{At: at}},
			"instance-life-cycle spot/instance-action",
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

// TestTheAnnouncementComesWithTheRecommendation: between two questions. What is only
// recommended is told once, and the announcement when there is one.
func TestTheAnnouncementComesWithTheRecommendation(t *testing.T) {
	const rebalance, action = "events/recommendations/rebalance", "spot/instance-action"
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		from map[string]int // the question from which on there is the document, by its path
		want []wire.Notice
	}{
		{"together", map[string]int{rebalance: 1, action: 2}, []wire.Notice{{At: at}}},
		{"some seconds later", map[string]int{rebalance: 1, action: 3}, []wire.Notice{{Rebalance: true, At: at}, {At: at}}},
		{"alone", map[string]int{rebalance: 1000, action: 2}, []wire.Notice{{At: at}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := map[string]int{}
			metadataServer(t, func(path string) (string, bool) {
				asked[path]++
				if path == "instance-life-cycle" {
					return "spot", true
				}
				return `{"action": "terminate", "time": "2026-03-01T12:00:00Z", "noticeTime": "2026-03-01T12:00:00Z"}`, asked[path] >= tc.from[path]
			})
			var got []wire.Notice
			watchInterruptions(t.Context(), slog.New(slog.DiscardHandler), func(n wire.Notice) { got = append(got, n) }, time.Millisecond)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
