package web_test

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

// sse is one message as it stands on the wire.
type sse struct{ name, id, data string }

// open opens a stream by hand; next returns its next message that is not a
// comment, and false at its end.
func (s *served) open(t *testing.T, path, lastID string) (next func() (sse, bool)) {
	t.Helper()
	resp := s.request(t, "GET", path, func(r *http.Request) {
		if lastID != "" {
			r.Header.Set("Last-Event-ID", lastID)
		}
	})
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: status %d of %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	sc := bufio.NewScanner(resp.Body)
	sc.Buffer(nil, 64<<20)
	return func() (sse, bool) {
		var m sse
		for sc.Scan() {
			field, value, _ := strings.Cut(sc.Text(), ": ")
			switch field {
			case "event":
				m.name = value
			case "id":
				m.id = value
			case "data":
				m.data = value
			case "":
				if m != (sse{}) {
					return m, true
				}
			}
		}
		return m, false
	}
}

// must returns the next message, whose name must be the one given.
func must(t *testing.T, next func() (sse, bool), name string) sse {
	t.Helper()
	m, ok := next()
	if !ok || m.name != name {
		t.Fatalf("the message is %+v (%v), want %q", m, ok, name)
	}
	return m
}

func TestEventsResume(t *testing.T) {
	s := serve(t, nil)
	next := s.open(t, "/api/v1/events", "")
	start := must(t, next, "").id // where the reader stands before it heard anything
	s.SetWorker(dormouse.WorkerStatus{Name: "w1", Phase: "one"})
	s.SetWorker(dormouse.WorkerStatus{Name: "w1", Phase: "two"})
	first := must(t, next, "event")
	if !strings.Contains(first.data, `"phase":"one"`) || !strings.HasSuffix(first.id, "-1") {
		t.Errorf("the event is %+v", first)
	}
	second := must(t, next, "event")

	for name, c := range map[string]struct {
		lastID string
		want   []string
	}{
		"from the start":              {start, []string{first.id, second.id}},
		"from the first":              {first.id, []string{second.id}},
		"of another life":             {"zz-1", []string{"reset"}},
		"from what has not come yet":  {strings.TrimSuffix(first.id, "1") + "99", []string{"reset"}},
		"from what is no id":          {"hello", []string{"reset"}},
		"from a number without epoch": {"1", []string{"reset"}},
	} {
		t.Run(name, func(t *testing.T) {
			next := s.open(t, "/api/v1/events", c.lastID)
			for _, want := range c.want {
				m, ok := next()
				if !ok || (m.id != want && m.name != want) {
					t.Fatalf("the message is %+v, want %s", m, want)
				}
			}
		})
	}
}

func TestEventsTooOldAreReset(t *testing.T) {
	s := serve(t, nil)
	next := s.open(t, "/api/v1/events", "")
	must(t, next, "")
	s.SetWorker(dormouse.WorkerStatus{Name: "w1"})
	first := must(t, next, "event")
	// Read as they come, or this reader would be cut off.
	for range 2000 {
		s.SetWorker(dormouse.WorkerStatus{Name: "w1"})
		must(t, next, "event")
	}
	must(t, s.open(t, "/api/v1/events", first.id), "reset")
}

func TestLargeEventsDoNotFillTheMemory(t *testing.T) {
	s := serve(t, nil)
	next := s.open(t, "/api/v1/events", "")
	must(t, next, "")
	big := strings.Repeat("x", 1<<20)
	var ids []string
	for range 20 {
		s.SetWorker(dormouse.WorkerStatus{Name: "w1", Reason: big})
		ids = append(ids, must(t, next, "event").id)
	}
	must(t, s.open(t, "/api/v1/events", ids[0]), "reset")
	must(t, s.open(t, "/api/v1/events", ids[17]), "event")
}

func TestEventsLostByTheHandlerAreReset(t *testing.T) {
	s := serve(t, nil)
	next := s.open(t, "/api/v1/events", "")
	must(t, next, "")
	s.DropSubscribers()
	must(t, next, "reset")
	// The new subscription stands before the reset is sent or soon after; what
	// is announced from then on comes.
	eventually(t, func() bool { return s.Subscribers() == 1 })
	s.SetWorker(dormouse.WorkerStatus{Name: "w1"})
	must(t, next, "event")
}

func TestEventFilters(t *testing.T) {
	s := serve(t, nil)
	all := s.open(t, "/api/v1/events", "")
	start := must(t, all, "").id

	if _, err := s.Client.Force(t.Context(), web.ForceRequest{Builder: "linux", Count: 2}); err != nil {
		t.Fatal(err)
	}
	b1, b2 := s.Start(1, "w1", ""), s.Start(2, "w1", "")
	step1, log1 := s.Step(b1.ID, "compile")
	s.Step(b2.ID, "compile")
	s.Print(log1.ID, "hello")
	s.FinishStep(step1.ID, dormouse.Success)
	s.Finish(b1.ID, dormouse.Success)
	s.SetWorker(dormouse.WorkerStatus{Name: "w1", Phase: "last"})
	for {
		if m := must(t, all, "event"); strings.Contains(m.data, "last") {
			break
		}
	}

	for path, want := range map[string]string{
		"/api/v1/events?kind=build":                 "build.started build.started build.finished",
		"/api/v1/events?kind=build.finished,worker": "build.finished worker.changed",
		"/api/v1/events?build=1":                    "request.changed build.started step.started log.new log.complete step.finished build.finished request.changed",
		"/api/v1/events?build=2&kind=step,log":      "step.started log.new",
		"/api/v1/events?builder=nightly":            "",
		"/api/v1/events?builder=linux&kind=request": "request.new request.new request.changed request.changed request.changed",
	} {
		t.Run(path, func(t *testing.T) {
			next := s.open(t, path, start)
			var got []string
			for range strings.Fields(want) {
				m := must(t, next, "event")
				_, kind, _ := strings.Cut(m.data, `"kind":"`)
				kind, _, _ = strings.Cut(kind, `"`)
				got = append(got, kind)
			}
			if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}

	live := s.open(t, "/api/v1/events?kind=log.appended&builder=linux", "")
	must(t, live, "")
	s.Print(log1.ID, "again")
	if m := must(t, live, "event"); !strings.Contains(m.data, `"lines":2`) {
		t.Errorf("the event is %+v", m)
	}
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(bound)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
		time.Sleep(time.Millisecond)
	}
}

// slowReader opens a stream and reads nothing of it.
func (s *served) slowReader(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// A small window, so that little waits in the kernel.
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", path, token)
	return conn
}

func TestASlowReaderOfEventsIsCutOffAndHarmsNobody(t *testing.T) {
	s := serve(t, nil)
	slow := s.slowReader(t, "/api/v1/events")
	if _, err := bufio.NewReader(slow).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	quick := s.open(t, "/api/v1/events", "")
	must(t, quick, "")
	text := strings.Repeat("x", 64<<10)
	// 64 KiB each: the kernel's buffers take some hundred, the queue 256.
	for range 2000 {
		s.SetWorker(dormouse.WorkerStatus{Name: "w1", Reason: text})
		must(t, quick, "event")
	}
	resp := s.request(t, "GET", "/metrics", nil)
	var b strings.Builder
	_, _ = copyTo(&b, resp.Body)
	if want := "dormouse_http_stream_readers_dropped_total 1"; !strings.Contains(b.String(), want) {
		t.Errorf("the slow reader was not cut off")
	}
}

func TestFollowLog(t *testing.T) {
	s := serve(t, nil)
	log := s.aLog(t)
	s.Print(log, "zero", "one")
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	next, stop := pull(s.FollowLog(ctx, log, 1))
	defer stop()
	want := func(number int64, text string) {
		t.Helper()
		line, err, ok := next()
		if err != nil || !ok || line.Number != number || line.Text != text {
			t.Fatalf("the line is %+v, %v, %v; want %d %q", line, err, ok, number, text)
		}
	}
	want(1, "one")
	s.Print(log, "two")
	want(2, "two")
	s.Print(log, "three")
	s.FinishStep(1, dormouse.Success)
	want(3, "three")
	if line, err, ok := next(); ok {
		t.Fatalf("after the end comes %+v, %v", line, err)
	}
}

// aLog makes a build with a step and returns the id of its log.
func (s *served) aLog(t testing.TB) int64 {
	t.Helper()
	if _, err := s.Force(t.Context(), web.ForceRequest{Builder: "linux"}); err != nil {
		t.Fatal(err)
	}
	b := s.Start(1, "w1", "i-1")
	_, l := s.Step(b.ID, "compile")
	return l.ID
}

// Builds asks by the client; the master has a method of this name, too.
func (s *served) Builds(ctx context.Context, q web.BuildQuery) ([]dormouse.Build, error) {
	return s.Client.Builds(ctx, q)
}

// Force asks the master itself.
func (s *served) Force(ctx context.Context, r web.ForceRequest) ([]dormouse.BuildRequest, error) {
	return s.Master.Force(ctx, r)
}

func pull(seq iter.Seq2[web.Line, error]) (func() (web.Line, error, bool), func()) {
	return iter.Pull2(seq)
}

// cutter is a proxy that can cut every connection through it.
type cutter struct {
	url   string
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{url: "http://" + l.Addr().String(), conns: map[net.Conn]struct{}{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(target, "http://"))
			if err != nil {
				in.Close()
				continue
			}
			c.mu.Lock()
			c.conns[in], c.conns[out] = struct{}{}, struct{}{}
			c.mu.Unlock()
			pipe := func(dst, src net.Conn) {
				_, _ = copyTo(dst, src)
				dst.Close()
				src.Close()
			}
			wg.Go(func() { pipe(in, out) })
			wg.Go(func() { pipe(out, in) })
		}
	})
	t.Cleanup(func() { l.Close(); c.cut(); wg.Wait() })
	return c
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
	clear(c.conns)
}

func TestALogSurvivesCuts(t *testing.T) {
	s := serve(t, nil)
	log := s.aLog(t)
	proxy := newCutter(t, s.url)
	c, err := client.New(proxy.url, token)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()

	const lines, batch = 3000, 100
	printed := 0
	more := func() {
		texts := make([]string, batch)
		for i := range texts {
			texts[i] = fmt.Sprint(printed + i)
		}
		printed += batch
		s.Print(log, texts...)
	}
	more()
	got := 0
	for line, err := range c.FollowLog(ctx, log, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if line.Text != fmt.Sprint(got) || line.Number != int64(got) {
			t.Fatalf("line %d is %+v", got, line)
		}
		got++
		if got%500 == 50 {
			proxy.cut()
		}
		if got == printed {
			if printed == lines {
				s.FinishStep(1, dormouse.Success)
			} else {
				more()
			}
		}
	}
	if got != lines {
		t.Errorf("%d lines of %d", got, lines)
	}
}

func TestEventsSurviveCutsAndTellOfGaps(t *testing.T) {
	s := serve(t, nil)
	proxy := newCutter(t, s.url)
	c, err := client.New(proxy.url, token)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	sent, got := 0, 0
	send := func() {
		sent++
		s.SetWorker(dormouse.WorkerStatus{Name: "w1", Builds: sent})
	}
	for m, err := range c.Events(ctx, client.EventQuery{Kinds: []string{"worker"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Reset {
			if got != 0 {
				t.Fatalf("a reset after %d events, though nothing was missed", got)
			}
			send()
			continue
		}
		got++
		if m.Event.Worker.Builds != got {
			t.Fatalf("event %d is %+v", got, m.Event.Worker)
		}
		if got == 20 {
			break
		}
		proxy.cut()
		send() // while nobody listens
	}
	if got != 20 {
		t.Errorf("%d events", got)
	}
}

func TestCloseEndsStreams(t *testing.T) {
	s := serve(t, nil)
	log := s.aLog(t)
	events := s.open(t, "/api/v1/events", "")
	must(t, events, "")
	lines := s.open(t, fmt.Sprintf("/api/v1/logs/%d/stream", log), "")
	s.Print(log, "a")
	must(t, lines, "lines")
	s.handler.Close()
	s.handler.Close()
	for {
		if _, ok := events(); !ok {
			break
		}
	}
	for {
		if _, ok := lines(); !ok {
			break
		}
	}
	// What is opened after that ends at once.
	next := s.open(t, "/api/v1/events", "")
	must(t, next, "")
	if m, ok := next(); ok {
		t.Errorf("a closed handler sends %+v", m)
	}
}

func TestAHugeLineIsStreamed(t *testing.T) {
	s := serve(t, nil)
	log := s.aLog(t)
	text := strings.Repeat("é", 5<<20)
	s.Print(log, "before", text, "after")
	s.FinishStep(1, dormouse.Success)
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	var got []string
	for line, err := range s.FollowLog(ctx, log, 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, line.Text)
	}
	if len(got) != 3 || got[1] != text || got[2] != "after" {
		t.Errorf("%d lines came", len(got))
	}
}
