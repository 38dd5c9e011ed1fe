package wire_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// patience bounds waits for what comes as soon as the machine gets to it.
const patience = 5 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// master is a Server on loopback.
type master struct {
	*wire.Server
	addr     string
	detached chan *wire.Worker
}

// startMaster serves until the test ends. Where o does not say otherwise, the
// password of each worker is "pw-" and its name, and all workers may attach.
func startMaster(t testing.TB, o wire.ServerOptions) *master {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &master{addr: listener.Addr().String(), detached: make(chan *wire.Worker, 16)}
	fill(&o)
	if o.Detached == nil {
		o.Detached = func(w *wire.Worker) { m.detached <- w }
	}
	m.Server = wire.NewServer(o)
	hs := &http.Server{Handler: m.Server, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = hs.Serve(listener)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		_ = hs.Close()
		<-served
	})
	return m
}

func fill(o *wire.ServerOptions) {
	if o.Authenticate == nil {
		o.Authenticate = func(_ context.Context, h wire.Hello) (wire.Identity, error) {
			if !wire.EqualSecret(h.Password, "pw-"+h.Name) {
				return wire.Identity{}, dormouse.Errorf(dormouse.Unauthorized, "unknown worker or wrong password")
			}
			return wire.Identity{}, nil
		}
	}
	if o.Attach == nil {
		o.Attach = func(context.Context, *wire.Worker) error { return nil }
	}
}

// receive waits for what must come.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %T came", *new(T))
		panic("unreachable")
	}
}
