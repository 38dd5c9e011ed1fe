package listen

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bound is waited for only by a test that fails.
const bound = 5 * time.Minute

// serve serves a handler which lets in whoever sends the token "right".
func serve(t *testing.T, o Options) *Listener {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "right" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		Prove(r.Context())
		_, _ = io.WriteString(w, "yes")
	}), o.Log)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return l
}

func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(bound))
	return c
}

// ask sends a request on a connection and returns the answer's status line.
func ask(t *testing.T, c net.Conn, token string) string {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: "+token+"\r\n\r\n"); err != nil {
		return err.Error()
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(string(buf[:n]), "\r\n")
	return line
}

// Hundreds that say nothing, or never finish their headers, keep nobody out, and
// those who have shown who they are stay.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	l := serve(t, Options{Limits: Limits{Connections: 40, Strangers: 20, PerAddress: 10}})
	known := dial(t, l)
	if got := ask(t, known, "right"); got != "HTTP/1.1 200 OK" {
		t.Fatal(got)
	}
	for i := range 300 {
		c := dial(t, l)
		if i%2 == 0 {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 1000))
		}
	}
	if got := ask(t, dial(t, l), "right"); got != "HTTP/1.1 200 OK" {
		t.Errorf("who comes after the idle ones: %s", got)
	}
	if got := ask(t, known, "right"); got != "HTTP/1.1 200 OK" {
		t.Errorf("who was there before the idle ones: %s", got)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room.strangers > 10 {
		t.Errorf("%d strangers", l.room.strangers)
	}
}

// A header of a megabyte is refused before it has come.
func TestLongHeader(t *testing.T) {
	t.Parallel()
	l := serve(t, Options{Limits: Share(0.5)})
	c := dial(t, l)
	go func() {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 64<<10))
	}()
	answer, _ := io.ReadAll(io.LimitReader(c, 64))
	if !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") {
		t.Errorf("%q", answer)
	}
}

// short is a listener that is short of descriptors now and then.
type short struct {
	net.Listener
	mu   sync.Mutex
	fail []error
}

func (s *short) Accept() (net.Conn, error) {
	s.mu.Lock()
	if len(s.fail) > 0 {
		err := s.fail[0]
		s.fail = s.fail[1:]
		s.mu.Unlock()
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	s.mu.Unlock()
	return s.Listener.Accept()
}

func TestShortOfDescriptors(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var out buffer
	l := newListener(&short{Listener: inner, fail: []error{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, syscall.ENOBUFS}},
		Options{Limits: Share(0.5), Log: slog.New(slog.NewTextHandler(&out, nil))})
	defer l.Close()
	c := dial(t, l)
	got, err := l.Accept()
	if err != nil {
		t.Fatalf("no connection: %v", err)
	}
	defer got.Close()
	if got.RemoteAddr().String() != c.LocalAddr().String() || !strings.Contains(out.String(), "ulimit -n") {
		t.Errorf("%v; the log says\n%s", got.RemoteAddr(), out.String())
	}
}

func TestAcceptEndsWithTheListener(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(&short{Listener: inner, fail: slices.Repeat([]error{syscall.EMFILE}, 1000)}, Options{Limits: Share(0.5)})
	ended := make(chan error)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	l.Close()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}
