package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clientOf returns a client of a server that answers by a function.
func clientOf(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, "token")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.retry = retryPolicy{first: time.Millisecond, most: time.Millisecond, give: time.Millisecond}
	return c
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:8010":        "http://127.0.0.1:8010",
		" HTTP://CI.example.org:80/ ":  "http://ci.example.org", //nolint:gocritic // the blanks are what is tested
		"https://ci.example.org:443/a": "https://ci.example.org/a",
		"https://[::1]:8010/":          "https://[::1]:8010",
		"127.0.0.1:8010":               "",
		"localhost":                    "",
		"ftp://x":                      "",
		"http://":                      "",
		"http://user:secret@x":         "",
		"http://x?y=1":                 "",
		"http://x#y":                   "",
		"":                             "",
	} {
		u, err := ParseURL(in)
		if want == "" {
			if dormouse.CodeOf(err) != dormouse.Invalid || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q is %v, %v", in, u, err)
			}
			continue
		}
		if err != nil || u.String() != want {
			t.Errorf("%q is %v, %v; want %s", in, u, err, want)
		}
	}
}

func TestOddAnswers(t *testing.T) {
	var elsewhere atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) }))
	defer other.Close()
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		code   dormouse.Code
		text   string
	}{
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, dormouse.Invalid, "redirects to " + other.URL},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, dormouse.Unavailable, "is not a Dormouse master"},
		{"a stranger's 404", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, dormouse.Unavailable, "is not a Dormouse master"},
		{"a proxy's 502", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, dormouse.Unavailable, "a proxy answered 502"},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"title":`)
		}, dormouse.Unavailable, "no answer"},
		{"a cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, dormouse.Unavailable, "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := clientOf(t, c.answer).Master(t.Context())
			if dormouse.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v of code %s", err, dormouse.CodeOf(err))
			}
		})
	}
	if elsewhere.Load() {
		t.Error("a redirect was followed")
	}
}

// A connection that is dead but not closed is given up and opened anew.
func TestASilentStreamIsOpenedAnew(t *testing.T) {
	var opened atomic.Int32
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		if opened.Add(1) == 1 {
			fmt.Fprint(w, "event: lines\nid: 1\ndata: {\"first\":0,\"next\":1,\"lines\":[{\"number\":0,\"text\":\"a\"}]}\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		if got := r.Header.Get("Last-Event-ID"); got != "1" {
			t.Errorf("it comes back with the id %q", got)
		}
		fmt.Fprint(w, "event: complete\nid: 1\ndata: {}\n\n")
	})
	c.silence, c.retry.give = 2*time.Second, time.Minute
	n := 0
	for _, err := range c.FollowLog(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1 || opened.Load() < 2 {
		t.Errorf("%d lines over %d connections", n, opened.Load())
	}
}

func TestAStreamIsGivenUpWhenTheMasterStaysAway(t *testing.T) {
	var opened atomic.Int32
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		if opened.Add(1) > 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "id: 1\n\n")
	})
	var last error
	for _, err := range c.Events(t.Context(), EventQuery{}) {
		last = err
	}
	if dormouse.CodeOf(last) != dormouse.Unavailable {
		t.Errorf("it ends with %v", last)
	}
}

func TestAGarbledStreamIsNotAskedForAgain(t *testing.T) {
	var opened atomic.Int32
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		opened.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: event\nid: 1\ndata: {\n\n")
	})
	var last error
	for _, err := range c.Events(t.Context(), EventQuery{}) {
		last = err
	}
	if dormouse.CodeOf(last) != dormouse.Internal || opened.Load() != 1 {
		t.Errorf("it ends with %v after %d connections", last, opened.Load())
	}
}

func TestStreamsEndWithTheirContext(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for m, err := range c.Events(ctx, EventQuery{}) {
		if m.Reset {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("it ends with %v", last)
	}
}

// TestLeavingAnEndedStream: whoever leaves the loop just as the context ends is
// not called again.
func TestLeavingAnEndedStream(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "event: event\nid: 1\ndata: {}\n\n")
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range c.Events(ctx, EventQuery{}) {
		cancel()
		break
	}
}

func FuzzEventReader(f *testing.F) {
	f.Add("event: a\nid: 1\ndata: x\ndata: y\n\n: c\n\nid: 2\n\n")
	f.Add("data\r\n\r\n:::\n\nevent:\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		er := newEventReader(strings.NewReader(s), func() {})
		for range len(s) + 1 {
			e, err := er.next()
			if err != nil {
				return
			}
			if e.name == "" && e.id == "" {
				t.Fatal("an event that is nothing")
			}
		}
		t.Fatal("more events than bytes")
	})
}
