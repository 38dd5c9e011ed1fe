package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/listen"
)

const (
	// defaultPingTimeout is how long a connected worker may be silent when
	// another connection with its name comes in, before it is given up.
	defaultPingTimeout = 10 * time.Second
	// infoTimeout is how long a worker has to introduce itself. The stock
	// worker reads a few small files for that.
	infoTimeout = 30 * time.Second
)

// ServerOptions configure a [Server]. Authenticate, Attach and Detached are
// required, and may be called for several connections at once.
type ServerOptions struct {
	// Authenticate decides on a name and password before the connection is
	// upgraded, and says whose it is. A *dormouse.Error becomes an HTTP status
	// with its text: Unauthorized 401, Conflict 409 (a stale generation),
	// Unavailable 503, Throttled 429 (too many guesses); any other error is 500
	// without a text.
	Authenticate func(ctx context.Context, h Hello) (Identity, error)
	// Attach is called for each accepted connection once the worker has
	// introduced itself, before anybody else learns of it. An error closes the
	// connection with that reason. Its context ends with the connection.
	Attach func(ctx context.Context, w *Worker) error
	// Detached is called exactly once after the connection of a worker for
	// which Attach returned nil has ended, and before Attach is called for the
	// next connection with that name.
	Detached func(w *Worker)
	// Interrupted hears of EC2's notices to a worker on a spot instance. nil:
	// workers are not asked to tell.
	Interrupted func(w *Worker, n Notice)
	Log         *slog.Logger  // default: discard
	PingTimeout time.Duration // default: 10 s
}

// Server is the master's end: an http.Handler for the address that workers
// connect to. Give it an http.Server of its own and end it with
// [Server.Shutdown], since http.Server knows nothing of upgraded connections.
type Server struct {
	o ServerOptions
	// refusals is the log of what strangers do.
	refusals *slog.Logger
	// ctx is what handlers of updates run in; it ends when Shutdown's patience
	// does.
	ctx    context.Context
	cancel context.CancelFunc
	// quit is what handshakes run in besides their request's context; it ends
	// when Shutdown begins.
	quit context.Context
	stop context.CancelFunc

	mu      sync.Mutex
	closing bool
	seats   map[string]*seat
	workers map[*Worker]struct{}
	wg      sync.WaitGroup // handshakes and connections
}

// seat is the one place that a worker name has.
type seat struct {
	turn   chan struct{} // held by the handshake that may change holder
	holder *Worker       // nil: free; written under turn and Server.mu
	users  int           // handshakes and holders; under Server.mu
}

// Identity is whose a connection is.
type Identity struct {
	// Name is the worker's; "" is the one the connection introduced itself with.
	// They differ for a machine that learns only here which worker it is.
	Name string
	// Generation is the one that the connection proves to belong to: 0 for a
	// worker that is not latent, or where it cannot be known.
	Generation int64
	// SecretBound says that the agent attaches with its own secret from now on:
	// see [HeaderSecretHash].
	SecretBound bool
	// Machine is the token for the agent to show when it is started again: see
	// [HeaderMachine]. "" is none.
	Machine string
}

// NewServer returns a Server that accepts connections until [Server.Shutdown].
func NewServer(o ServerOptions) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.PingTimeout <= 0 {
		o.PingTimeout = defaultPingTimeout
	}
	ctx, cancel := context.WithCancel(context.Background())
	quit, stop := context.WithCancel(ctx)
	return &Server{
		o: o, refusals: listen.Brief(o.Log), ctx: ctx, cancel: cancel, quit: quit, stop: stop,
		seats: make(map[string]*seat), workers: make(map[*Worker]struct{}),
	}
}

// ServeHTTP performs the handshake, and then serves the connection until it
// ends.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.Error(rw, "workers connect to /", http.StatusNotFound)
		return
	}
	if !s.enter() {
		refuse(rw, dormouse.Errorf(dormouse.Unavailable, "the master is shutting down"))
		return
	}
	defer s.wg.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.quit, cancel)()

	h, err := helloFrom(r)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	if s.o.Interrupted == nil {
		h.Extensions = slices.DeleteFunc(h.Extensions, func(x Extension) bool { return x == Interruption })
	}
	id, err := s.authenticate(ctx, h)
	if err != nil {
		s.refused(h, err)
		refuse(rw, err)
		return
	}
	listen.Prove(r.Context())
	if id.Name != "" {
		h.Name = id.Name
	}
	log := s.o.Log.With("worker", h.Name, "remote", h.RemoteAddr)
	st := s.sit(h.Name)
	defer s.leave(h.Name, st)
	if id.SecretBound {
		rw.Header().Set(HeaderSecretHash, h.SecretHash)
	}
	if id.Machine != "" {
		rw.Header().Set(HeaderMachine, id.Machine)
	}
	w, err := s.admit(ctx, rw, r, h, id.Generation, st, log)
	if err != nil {
		s.refused(h, err)
		return
	}
	s.serve(w, st)
}

func (s *Server) refused(h Hello, err error) {
	s.refusals.Warn("worker refused", "worker", h.Name, "remote", h.RemoteAddr, "code", dormouse.CodeOf(err), "error", err)
}

// enter counts a handshake in, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.wg.Add(1)
	return true
}

func (s *Server) authenticate(ctx context.Context, h Hello) (Identity, error) {
	if h.Name == "" {
		return Identity{}, dormouse.Errorf(dormouse.Unauthorized, "a worker connects with its name and password (HTTP Basic authentication)")
	}
	return s.o.Authenticate(ctx, h)
}

func (s *Server) sit(name string) *seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.seats[name]
	if st == nil {
		st = &seat{turn: make(chan struct{}, 1)}
		s.seats[name] = st
	}
	st.users++
	return st
}

func (s *Server) leave(name string, st *seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.users--; st.users == 0 {
		delete(s.seats, name)
	}
}

// admit gives the seat to a new connection and upgrades it, or answers the
// request with the reason why not.
func (s *Server) admit(ctx context.Context, rw http.ResponseWriter, r *http.Request, h Hello, generation int64, st *seat, log *slog.Logger) (*Worker, error) {
	select {
	case st.turn <- struct{}{}:
		defer func() { <-st.turn }()
	case <-ctx.Done():
		refuse(rw, errHurried)
		return nil, errHurried
	}
	if err := s.vacate(ctx, st, generation); err != nil {
		refuse(rw, err)
		return nil, err
	}
	if len(h.Extensions) > 0 {
		rw.Header().Set(HeaderExtensions, h.Extensions.String())
	}
	ws, err := websocket.Accept(rw, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, err
	}
	w := newWorker(s, ws, h, generation, log)
	s.mu.Lock()
	st.holder = w
	s.workers[w] = struct{}{}
	closing := s.closing
	s.mu.Unlock()
	if closing {
		w.end(websocket.StatusGoingAway, "the master is shutting down")
	}
	return w, nil
}

// vacate applies the rule of the second connection: see the package comment.
// It returns nil once the seat is free and whoever held it is detached.
func (s *Server) vacate(ctx context.Context, st *seat, generation int64) error {
	s.mu.Lock()
	old := st.holder
	s.mu.Unlock()
	if old == nil {
		return nil
	}
	switch {
	case generation != 0 && generation < old.generation:
		return dormouse.Errorf(dormouse.Conflict, "stale generation %d: worker %q is connected with generation %d", generation, old.hello.Name, old.generation)
	case generation > old.generation && old.generation != 0:
		old.drop(fmt.Errorf("replaced by a connection of generation %d", generation))
	default:
		alive, err := old.probe(ctx)
		if err != nil {
			return errHurried
		}
		if alive {
			return dormouse.Errorf(dormouse.Unavailable, "worker %q is already connected, from %s", old.hello.Name, old.hello.RemoteAddr)
		}
	}
	select {
	case <-old.detached:
		return nil
	case <-ctx.Done():
		return errHurried
	}
}

// errHurried answers, if anybody still listens, a handshake that ended before
// it was decided: the worker went away, or the master is shutting down.
var errHurried = dormouse.Errorf(dormouse.Unavailable, "the handshake ended before the worker's earlier connection was checked")

// serve runs an upgraded connection from introduction to end.
func (s *Server) serve(w *Worker, st *seat) {
	w.start(w.readerDone)
	if w.hello.Extensions.Has(Ping) {
		w.wg.Go(func() { w.watch(w.budget.held) })
	}
	attached := false
	err := s.introduce(w)
	if err == nil {
		w.log.Info("worker attached", "generation", w.generation, "agent", w.hello.Agent)
		attached = true
		<-w.done
	} else {
		w.end(websocket.StatusPolicyViolation, err.Error())
	}
	w.log.Info("worker detached", "reason", w.err)
	if attached {
		s.o.Detached(w)
	}
	s.mu.Lock()
	if st.holder == w {
		st.holder = nil
	}
	s.mu.Unlock()
	close(w.detached)
	w.wg.Wait()
	w.runs.Wait()
	s.mu.Lock()
	delete(s.workers, w)
	s.mu.Unlock()
}

// introduce asks the worker who it is and offers it to Attach.
func (s *Server) introduce(w *Worker) error {
	ctx, cancel := context.WithTimeout(w.ctx, infoTimeout)
	v, err := w.call(ctx, "get_worker_info")
	cancel()
	if err != nil {
		return err
	}
	w.introduced(v)
	ctx, cancel = context.WithCancel(w.ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	w.wg.Go(func() {
		select {
		case <-w.done:
			cancel()
		case <-stop:
		}
	})
	return s.o.Attach(ctx, w)
}

// Shutdown refuses new connections, closes all there are, and waits until
// every update that has arrived is handled and every Detached has returned.
// When ctx ends first, the handlers' contexts end too and connections are cut;
// it returns ctx's error without waiting for handlers that ignore that.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.stop()
	for w := range s.workers {
		w.end(websocket.StatusGoingAway, "the master is shutting down")
	}
	s.mu.Unlock()
	quiet := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(quiet)
	}()
	defer s.cancel()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for w := range s.workers {
		w.cancel()
	}
	s.mu.Unlock()
	return ctx.Err()
}

// refuse answers a handshake with an error, in words only where the error is
// one for the worker's owner.
func refuse(rw http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var e *dormouse.Error
	if errors.As(err, &e) {
		switch e.Code {
		case dormouse.Unauthorized:
			rw.Header().Set("WWW-Authenticate", `Basic realm="dormouse worker"`)
			status = http.StatusUnauthorized
		case dormouse.Conflict:
			status = http.StatusConflict
		case dormouse.Unavailable:
			rw.Header().Set("Retry-After", "5") // seconds; as long as a stock worker's first retries take
			status = http.StatusServiceUnavailable
		case dormouse.Throttled:
			rw.Header().Set("Retry-After", "3") // seconds; about what one more guess takes
			status = http.StatusTooManyRequests
		}
	}
	if status == http.StatusInternalServerError {
		http.Error(rw, "the master failed; its log says why", status)
		return
	}
	http.Error(rw, err.Error(), status)
}
