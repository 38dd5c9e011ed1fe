package web_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
	"github.com/dormouse-ci/dormouse/web/webtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "a-token-for-tests"

// bound is how long a test waits for what must come. It is never waited for
// unless the test fails.
const bound = 5 * time.Minute

// served is a handler on a loopback port, with its master and a client.
type served struct {
	*webtest.Master
	*client.Client
	handler *web.Handler
	server  *http.Server
	url     string
}

func serve(t testing.TB, change func(*web.Options)) *served {
	t.Helper()
	m := webtest.New(time.Now())
	o := web.Options{Service: m, Token: token}
	if change != nil {
		change(&o)
	}
	h := web.NewHandler(o)
	s := &served{Master: m, handler: h, server: web.NewServer(h)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.server.Serve(l) }()
	s.url = "http://" + l.Addr().String()
	s.Client, err = client.New(s.url, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			t.Errorf("the server does not shut down: %v", err)
		}
		<-done
		h.Close()
		if n := m.Subscribers(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
	return s
}

// request makes a request as no client would.
func (s *served) request(t testing.TB, method, path string, change func(*http.Request)) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if change != nil {
		change(req)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}
