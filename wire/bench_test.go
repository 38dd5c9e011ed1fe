package wire

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// fullUpdate is what a compiler's output fills one frame with: 64 KiB of lines
// of 80 characters.
func fullUpdate() ([]dormouse.LogLine, int) {
	var lines []dormouse.LogLine
	size := 0
	for size < 64<<10 {
		lines = append(lines, dormouse.LogLine{Stream: dormouse.Stdout, Time: now, Text: strings.Repeat("x", 79)})
		size += 80
	}
	return lines, size
}

func BenchmarkEncodeUpdate(b *testing.B) {
	lines, size := fullUpdate()
	fields := []field{{"command_id", "1"}, {"args", updateArgs{{"stdout", EncodeOutput(lines)}}}}
	var buf []byte
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = appendRequest(buf[:0], 1, "update", fields)
	}
}

func BenchmarkDecodeUpdate(b *testing.B) {
	lines, size := fullUpdate()
	buf, _ := appendRequest(nil, 1, "update", []field{{"command_id", "1"}, {"args", updateArgs{{"stdout", EncodeOutput(lines)}}}})
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		f, err := parseFrame(buf)
		if err != nil {
			b.Fatal(err)
		}
		args, _ := f.raw("args")
		if err := decodeUpdates(args, now, func(Update) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// benchAgent starts whatever is asked for, and says so.
type benchAgent struct{ started chan string }

func (benchAgent) WorkerInfo() map[string]any            { return map[string]any{"basedir": "/"} }
func (benchAgent) Settings(Settings)                     {}
func (benchAgent) InterruptCommand(string, string) error { return nil }
func (benchAgent) Print(string)                          {}
func (benchAgent) Shutdown()                             {}
func (a benchAgent) KeepCommands([]string)               {}
func (a benchAgent) EndGroup(string) []string            { return nil }
func (a benchAgent) ResumeCommand(string, int64) bool    { return false }
func (a benchAgent) StartCommand(c StartCommand) error {
	id := c.ID
	a.started <- id
	return nil
}

// benchPair is a master and an agent over loopback.
func benchPair(b *testing.B) (*Worker, *AgentConn, benchAgent) {
	workers := make(chan *Worker, 1)
	s := NewServer(ServerOptions{
		Authenticate: func(context.Context, Hello) (Identity, error) { return Identity{}, nil },
		Attach:       func(_ context.Context, w *Worker) error { workers <- w; return nil },
		Detached:     func(*Worker) {},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	hs := &http.Server{Handler: s}
	var wg sync.WaitGroup
	wg.Go(func() { _ = hs.Serve(l) })
	a := benchAgent{make(chan string, 1)}
	c, err := Dial(b.Context(), DialOptions{URL: "ws://" + l.Addr().String(), Name: "w", Handler: a})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = c.Close()
		c.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = s.Shutdown(ctx)
		_ = hs.Close()
		wg.Wait()
	})
	return <-workers, c, a
}

// BenchmarkRoundTrip is one request and its response.
func BenchmarkRoundTrip(b *testing.B) {
	w, _, _ := benchPair(b)
	for b.Loop() {
		if err := w.Ping(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "trips/s")
}

// BenchmarkOutput is a command's output from the agent's lines to the master's,
// with up to eight frames unacknowledged.
func BenchmarkOutput(b *testing.B) {
	w, c, a := benchPair(b)
	received := 0
	r, err := w.Start(b.Context(), Command{Name: "shell"}, func(_ context.Context, u Update) error { received += len(u.Lines); return nil })
	if err != nil {
		b.Fatal(err)
	}
	id := <-a.started
	lines, size := fullUpdate()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	var window []func(context.Context) error
	sent := 0
	for b.Loop() {
		updates, err := EncodeUpdates(EncodeStreams(lines))
		if err != nil {
			b.Fatal(err)
		}
		wait, err := c.Send(b.Context(), id, NoPosition, updates)
		if err != nil {
			b.Fatal(err)
		}
		sent++
		if window = append(window, wait); len(window) == 8 {
			err = window[0](b.Context())
			window = window[1:]
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	var errs error
	for _, wait := range window {
		errs = errors.Join(errs, wait(b.Context()))
	}
	if err := errors.Join(errs, c.Complete(b.Context(), id, ""), r.Wait(b.Context())); err != nil {
		b.Fatal(err)
	}
	if received != sent*len(lines) {
		b.Fatalf("%d lines, want %d", received, sent*len(lines))
	}
}
