package ec2sim

import (
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/dormouse-ci/dormouse"
)

// Server is an endpoint. It is an [http.Handler] whose state lives in memory.
type Server struct {
	opts    Options
	secrets map[string]string // by access key id
	mux     *http.ServeMux
	local   *localMachines // nil when Options.Boot starts the machines

	ctx      context.Context // ends when the endpoint closes
	cancel   context.CancelFunc
	machines sync.WaitGroup // one for each instance that has not ended

	closing  sync.Once
	closed   chan struct{} // when nothing is left to wait for
	closeErr error         // set before closed is closed

	mu sync.Mutex // guards everything below
	cloud
	throttle throttle
	playing  *scenarioRun // nil: it behaves
	calls    map[string]int
	failures map[string]int
	history  []*instance // every instance, oldest first
	// What the ledger had to let go of.
	forgotten     int
	forgottenCost float64
}

// New makes an endpoint. Whoever made it closes it.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts:     opts,
		secrets:  make(map[string]string, len(opts.Credentials)),
		closed:   make(chan struct{}),
		calls:    make(map[string]int),
		failures: make(map[string]int),
		cloud:    newCloud(opts),
		throttle: throttle{scale: opts.RateScale, limiters: make(map[string]*rate.Limiter)},
	}
	for _, c := range opts.Credentials {
		s.secrets[c.AccessKeyID] = c.SecretAccessKey
	}
	if opts.Boot == nil {
		if s.local, err = newLocalMachines(opts); err != nil {
			return nil, err
		}
		s.opts.Boot = s.local.boot
	}
	s.playing = play(opts.Scenario, time.Now())
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("/", s.serveQuery)
	s.routeSim()
	return s, nil
}

// ServeHTTP answers a request of the API, or one of the endpoint's own under
// /_sim.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Close ends every instance and waits until no process of theirs is left, or
// the context ends. From then on nothing can be launched; everything can still
// be read. It may be called again, to wait again.
func (s *Server) Close(ctx context.Context) error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.shut = true
		for _, inst := range s.instances {
			if !inst.state.Ended() {
				s.end(inst, reasonEndpointClosed, "")
			}
		}
		s.mu.Unlock()
		s.cancel()
		go func() {
			defer close(s.closed)
			s.machines.Wait()
			if s.local != nil {
				s.closeErr = s.local.close()
			}
		}()
	})
	select {
	case <-s.closed:
		return s.closeErr
	case <-ctx.Done():
		return dormouse.Errorf(dormouse.Unavailable, "%d instances of the local EC2 endpoint have not ended: %w",
			s.Ledger().Alive(), ctx.Err())
	}
}

// maxRequest is more than EC2's largest request: a launch with 16 KiB of user
// data, or 1,000 ids.
const maxRequest = 1 << 20

// serveQuery takes a request of the API through its steps.
func (s *Server) serveQuery(w http.ResponseWriter, r *http.Request) {
	c := &call{Server: s, requestID: newRequestID(), now: time.Now(), service: serviceEC2}
	out, err := s.answer(c, r)
	// Draining lets the connection be used again.
	_, _ = io.CopyN(io.Discard, r.Body, maxRequest)
	c.hold(r.Context(), w)
	if c.misbehaviour.lose {
		panic(http.ErrAbortHandler) // which cuts the connection
	}
	c.write(w, out, err)
}

// answer reads, authenticates and carries out a request.
func (s *Server) answer(c *call, r *http.Request) (any, error) {
	if of, is := jsonServiceOf(r); is {
		return s.answerJSON(c, r, of)
	}
	form, body, err := readForm(r)
	if err != nil {
		return nil, err
	}
	c.action = form.Get("Action")
	// Only known names are counted, or a stranger could fill the memory.
	if _, ok := actions[serviceEC2][c.action]; ok {
		s.count(c.action)
	} else if _, ok := actions[serviceSTS][c.action]; ok {
		s.count(c.action)
	}
	if form.Get("Version") == stsVersion {
		c.service = serviceSTS
	}
	sig, err := s.authenticate(r, body, c.now)
	if err != nil {
		return nil, err
	}
	if sig.service != c.service {
		return nil, refuse("SignatureDoesNotMatch", "Credential should be scoped to correct service: '%s'.", c.service).
			withStatus(http.StatusForbidden)
	}
	c.accessKeyID = sig.accessKeyID
	return c.dispatch(form)
}

// readForm returns a request's parameters, from its query and its body, and the
// body.
func readForm(r *http.Request) (url.Values, []byte, error) {
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		return nil, nil, refuse("InvalidRequest", "The method %s is not one of this API", r.Method).withStatus(http.StatusMethodNotAllowed)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		return nil, nil, refuse("InvalidRequest", "The request's body could not be read")
	}
	if len(body) > maxRequest {
		return nil, nil, refuse("RequestEntityTooLarge", "The request is larger than %d bytes", maxRequest).
			withStatus(http.StatusRequestEntityTooLarge)
	}
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, refuse("MalformedQueryString", "The query string contains a syntax error.")
	}
	inBody, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, nil, refuse("MalformedQueryString", "The request's body is not a form.")
	}
	for name, values := range inBody {
		form[name] = append(form[name], values...)
	}
	return form, body, nil
}

func (s *Server) count(action string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[action]++
}

// fingerprint is the same for requests with the same parameters, but for those
// that EC2 does not compare when a client token comes again.
func fingerprint(form url.Values) [sha256.Size]byte {
	compared := make(url.Values, len(form))
	for name, values := range form {
		switch name {
		case "ClientToken", "DryRun":
		default:
			compared[name] = values
		}
	}
	return sha256.Sum256([]byte(compared.Encode()))
}

// fromThisMachine reports whether a request came over the loopback to a
// loopback name, so that neither another machine nor a web page that a browser
// here was made to load under a name of its own can send it.
func fromThisMachine(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
