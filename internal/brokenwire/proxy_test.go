package brokenwire_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/internal/brokenwire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that gives back what it gets, and its proxy.
func echo(t *testing.T, network, address string) *brokenwire.Proxy {
	t.Helper()
	l, err := net.Listen(network, address)
	check(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	p, err := brokenwire.Start(network, l.Addr().String())
	check(t, err)
	t.Cleanup(func() {
		check(t, p.Close())
		check(t, p.Close())
		l.Close()
		<-done
	})
	return p
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, p *brokenwire.Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// talk sends a text and expects it back.
func talk(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	check(t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(c, got)
	check(t, err)
	if string(got) != text {
		t.Fatalf("got %q, want %q", got, text)
	}
}

// silent checks that nothing comes. It waits a little: a proxy that lets too much
// pass is caught now and then, and one that does not is never blamed.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	check(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v; want silence", n, err)
	}
	check(t, c.SetReadDeadline(time.Time{}))
}

func TestPass(t *testing.T) {
	t.Parallel()
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		p := echo(t, network, address)
		c := dial(t, p)
		talk(t, c, strings.Repeat("hello", 100_000))
		check(t, c.CloseWrite())
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("%s: behind the end: %q, %v", network, rest, err)
		}
	}
}

// TestFaults breaks a connection behind three of six bytes, in each way and
// direction, and leaves the next one alone.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, to := range []brokenwire.Direction{brokenwire.ToServer, brokenwire.ToClient} {
		for _, f := range []brokenwire.Fault{brokenwire.Cut, brokenwire.Truncate, brokenwire.Deaf, brokenwire.Stall} {
			t.Run(f.String()+" "+to.String(), func(t *testing.T) {
				t.Parallel()
				p := echo(t, "tcp", "127.0.0.1:0")
				c := dial(t, p)
				talk(t, c, "before")
				p.Use(brokenwire.After(to, 3, f))
				_, err := io.WriteString(c, "abcdef")
				check(t, err)
				if to == brokenwire.ToClient || f == brokenwire.Stall {
					// Else what the server says of these bytes may come too late.
					got := make([]byte, 3)
					_, err = io.ReadFull(c, got)
					if overtaken := f == brokenwire.Cut && errors.Is(err, syscall.ECONNRESET); !overtaken && string(got) != "abc" {
						t.Fatalf("got %q, %v", got, err)
					}
				}
				ends(t, p, c, f)
				talk(t, dial(t, p), "another")
			})
		}
	}
}

// ends checks what is seen behind the bytes that passed.
func ends(t *testing.T, p *brokenwire.Proxy, c net.Conn, f brokenwire.Fault) {
	t.Helper()
	switch f {
	case brokenwire.Cut:
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, want a reset", err)
		}
	case brokenwire.Truncate:
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%v, want an end in good order", err)
		}
	case brokenwire.Deaf:
		silent(t, c)
	case brokenwire.Stall:
		silent(t, c)
		p.Use(nil)
		rest := make([]byte, 3)
		if _, err := io.ReadFull(c, rest); err != nil || string(rest) != "def" {
			t.Errorf("got %q, %v; want the rest", rest, err)
		}
	}
}

func TestNewConnections(t *testing.T) {
	t.Parallel()
	p := echo(t, "tcp", "127.0.0.1:0")
	p.Use(brokenwire.Always(brokenwire.Cut))
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // the reset may come with the answer, or behind it
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a refused connection gave something")
		}
		c.Close()
	}
	p.Use(brokenwire.Always(brokenwire.Deaf))
	deaf := dial(t, p)
	_, err := io.WriteString(deaf, "hello")
	check(t, err)
	silent(t, deaf)
	p.Use(brokenwire.Always(brokenwire.Stall))
	stalled := dial(t, p)
	silent(t, stalled)
	p.Use(nil)
	talk(t, stalled, "at last")
	silent(t, deaf)
	if n := p.CutAll(); n != 2 {
		t.Errorf("%d connections, want the deaf and the stalled one", n)
	}
	for _, c := range []net.Conn{deaf, stalled} {
		if _, err := io.ReadAll(c); err == nil {
			t.Error("no reset")
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	p := echo(t, "tcp", "127.0.0.1:0")
	var passed [3]strings.Builder
	p.Watch(func(piece brokenwire.Piece) { passed[piece.To].Write(piece.Data) })
	talk(t, dial(t, p), "hello")
	p.Watch(nil)
	if passed[brokenwire.ToServer].String() != "hello" || passed[brokenwire.ToClient].String() != "hello" {
		t.Errorf("%q, %q", passed[1].String(), passed[2].String())
	}
}

// TestEveryByte: behind each number of bytes, just so many arrive.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	p := echo(t, "tcp", "127.0.0.1:0")
	for n := range int64(11) {
		p.Use(brokenwire.After(brokenwire.ToClient, n, brokenwire.Truncate))
		c := dial(t, p)
		_, err := io.WriteString(c, "0123456789")
		check(t, err)
		if got, err := io.ReadAll(c); err != nil || string(got) != "0123456789"[:n] {
			t.Errorf("behind %d bytes: %q, %v", n, got, err)
		}
	}
}
