package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Worker is the master's handle on one connection of a worker. It is of use
// from the call of Attach until [Worker.Done]; a worker that connects again
// gets another. Its methods may be called from any goroutine.
type Worker struct {
	*peer
	server     *Server
	hello      Hello
	generation int64
	info       Info
	log        *slog.Logger
	budget     budget
	detached   chan struct{} // the seat is free again

	mu       sync.Mutex
	lastID   int64
	running  map[string]*Running
	probing  *probe
	finished bool           // the reader has ended: nothing more will come
	runs     sync.WaitGroup // goroutines of Running
}

func newWorker(s *Server, ws *websocket.Conn, h Hello, generation int64, log *slog.Logger) *Worker {
	w := &Worker{
		server: s, hello: h, generation: generation, log: log,
		budget:   newBudget(),
		detached: make(chan struct{}),
		running:  make(map[string]*Running),
	}
	w.peer = newPeer(ws, fmt.Sprintf("worker %q", h.Name), log)
	w.serve = w.dispatch
	return w
}

// introduced takes the answer to get_worker_info.
func (w *Worker) introduced(v any) {
	w.info = infoFrom(v)
	if w.info.Version != "" && (w.hello.Agent == "" || strings.HasPrefix(w.hello.Agent, "Autobahn")) {
		w.hello.Agent = "buildbot-worker " + w.info.Version
	}
}

// Name returns the worker's name.
func (w *Worker) Name() string { return w.hello.Name }

// Generation returns what Authenticate said of the connection.
func (w *Worker) Generation() int64 { return w.generation }

// Hello returns how the connection introduced itself.
func (w *Worker) Hello() Hello { return w.hello }

// Extensions returns those in force on this connection; none with a stock
// worker.
func (w *Worker) Extensions() Extensions { return w.hello.Extensions }

// Resumes reports whether commands of a group outlive this connection.
func (w *Worker) Resumes() bool { return w.hello.Extensions.Has(Resume) && w.hello.Session != "" }

// Info returns what the worker said of itself when it attached.
func (w *Worker) Info() Info { return w.info }

// Facts are what the worker said of itself, as texts can name it:
// %(worker:version)s.
func (w *Worker) Facts() map[string]string {
	facts := maps.Clone(w.info.Extra)
	if facts == nil {
		facts = map[string]string{}
	}
	for name, v := range map[string]string{
		"name": w.Name(), "version": w.info.Version, "system": w.info.System, "basedir": w.info.BaseDir,
		"admin": w.info.Admin, "host": w.info.Host, "access_uri": w.info.AccessURI, "numcpus": strconv.Itoa(w.info.NumCPUs),
	} {
		if v != "" {
			facts[name] = v
		}
	}
	return facts
}

// Ping returns once the worker has answered a keepalive. Like every answer, it
// comes after all output that the worker sent before.
func (w *Worker) Ping(ctx context.Context) error {
	_, err := w.call(ctx, "keepalive")
	return err
}

// Print has the worker write msg to its log.
func (w *Worker) Print(ctx context.Context, msg string) error {
	_, err := w.call(ctx, "print", field{"message", msg})
	return err
}

// Shutdown asks the worker to end its process. It returns nil once the worker
// agrees, or its connection ends after it was asked.
func (w *Worker) Shutdown(ctx context.Context) error {
	c, err := w.send(ctx, "shutdown")
	if err != nil {
		return err
	}
	if _, err = c.wait(ctx); errors.Is(err, ErrConnectionLost) {
		return nil
	}
	return err
}

// Close ends the connection, telling the worker why. It does not wait.
func (w *Worker) Close(reason string) { w.end(websocket.StatusNormalClosure, reason) }

// ProcessEnds reports, of a connection that has ended, whether the agent said that its
// process ends: nobody comes to go on with its commands.
func (w *Worker) ProcessEnds() bool { return w.farewell.Load() }

// Done is closed when the connection has ended.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Err says why the connection has ended; nil while it has not.
func (w *Worker) Err() error {
	select {
	case <-w.done:
		return w.lost("connection ended")
	default:
		return nil
	}
}

// probe is a check whether the worker still answers. It is the server's, not
// the contender's: a stock worker gives a handshake up after five seconds, and
// would else never see a check of ten end.
type probe struct {
	done  chan struct{}
	alive bool // set before done is closed
}

// probe reports whether the worker answers, and drops the connection if it
// does not. Callers at the same time share one check.
func (w *Worker) probe(ctx context.Context) (alive bool, err error) {
	w.mu.Lock()
	pr := w.probing
	if pr == nil {
		pr = &probe{done: make(chan struct{})}
		w.probing = pr
		w.server.wg.Go(func() { w.runProbe(pr) }) // the caller's handshake counts, so never from zero
	}
	w.mu.Unlock()
	select {
	case <-pr.done:
		return pr.alive, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (w *Worker) runProbe(pr *probe) {
	timeout := w.server.o.PingTimeout
	before := w.frames.Load()
	ctx, cancel := context.WithTimeout(w.server.quit, timeout)
	defer cancel()
	_, err := w.call(ctx, "keepalive")
	var refused *RemoteError
	switch {
	case err == nil, errors.As(err, &refused):
		pr.alive = true
	case errors.Is(err, ErrConnectionLost):
	case w.server.quit.Err() != nil: // nobody is let in any more
		pr.alive = true
	case w.frames.Load() != before, w.budget.held():
		// Its answer is behind output that it, or we, cannot move faster.
		pr.alive = true
	default:
		w.drop(fmt.Errorf("silent for %v while another connection with its name came in", timeout))
	}
	w.mu.Lock()
	w.probing = nil
	w.mu.Unlock()
	close(pr.done)
}

// Start has the worker run a command. It returns once the worker has accepted
// it, or with its refusal (a [*RemoteError]).
//
// Updates are given to on in order, one at a time; an update counts as
// received, for the worker too, when on has returned nil, so on returns once
// it is durable. While on is busy the worker is held back: at most about 4 MiB
// wait for all commands of the connection together, then the socket is not
// read. An error from on ends the Running with that error; on is not called
// again, and the caller is expected to interrupt the command. The context that
// on gets has the values of ctx; it ends only when the server's Shutdown gives
// up waiting. What arrived before the connection was lost is still given to on.
func (w *Worker) Start(ctx context.Context, c Command, on func(ctx context.Context, u Update) error) (*Running, error) {
	if !w.hello.Extensions.Has(Literals) {
		args, err := withoutMarks(c.Args, w.info.System)
		if err != nil {
			return nil, err
		}
		c.Args = args
	}
	w.mu.Lock()
	if w.finished {
		w.mu.Unlock()
		return nil, w.lost("start_command " + c.Name)
	}
	id := c.ID
	if c.Group == "" {
		w.lastID++
		id = strconv.FormatInt(w.lastID, 10)
	}
	r := w.listen(ctx, id, c, on)
	w.mu.Unlock()

	args := c.Args
	if args == nil {
		args = map[string]any{}
	}
	fields := []field{{"builder_name", c.Builder}, {"command_id", r.id}, {"command_name", c.Name}, {"args", args}}
	if c.Group != "" {
		fields = append(fields, field{"resume", c.Group})
	}
	p, err := w.send(ctx, "start_command", fields...)
	if err == nil {
		_, err = p.wait(ctx)
	}
	if err == nil {
		return r, nil
	}
	w.deafen(r, err)
	w.mu.Lock()
	if p != nil && ctx.Err() != nil && !w.finished {
		// It may have started all the same, and nobody will wait for it.
		w.runs.Go(func() {
			ctx, cancel := context.WithTimeout(w.ctx, abandonTimeout)
			defer cancel()
			_ = r.interrupt(ctx, "nobody waits for this command any more")
		})
	}
	w.mu.Unlock()
	return nil, err
}

// listen makes the goroutine that handles what a command says. The caller holds
// w.mu.
func (w *Worker) listen(ctx context.Context, id string, c Command, on func(context.Context, Update) error) *Running {
	r := newRunning(w, id, c, on)
	w.running[r.id] = r
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(w.server.ctx, cancel)
	w.runs.Go(func() {
		defer cancel()
		defer stop()
		r.run(runCtx)
	})
	return r
}

// deafen ends what listen began, for a command that there is not.
func (w *Worker) deafen(r *Running, err error) {
	r.close(err)
	w.mu.Lock()
	delete(w.running, r.id)
	w.mu.Unlock()
	if r.command.Group != "" {
		<-r.finished // what it said is counted before it is asked for the rest
	}
}

// abandonTimeout is how long a worker has to answer the interruption of a
// command that was given up.
const abandonTimeout = 10 * time.Second

// readerDone tells all commands that nothing more will come.
func (w *Worker) readerDone() {
	w.mu.Lock()
	w.finished = true
	rs := w.running
	w.running = nil
	w.mu.Unlock()
	for _, r := range rs {
		r.close(w.lost("command " + r.command.Name))
	}
}

// requestKeys lists the requests a worker may make, and what each must carry.
var requestKeys = map[string][]string{
	"update":                         {"command_id"}, // without args it is one that is missing
	"complete":                       {"command_id", "args"},
	"update_upload_file_write":       {"command_id", "args"},
	"update_upload_file_utime":       {"command_id", "access_time", "modified_time"},
	"update_upload_file_close":       {"command_id"},
	"update_read_file":               {"command_id", "length"},
	"update_read_file_close":         {"command_id"},
	"update_upload_directory_write":  {"command_id", "args"},
	"update_upload_directory_unpack": {"command_id"},
}

// dispatch gives a request to the command it is for. It runs in the reader,
// and holds the reader back while the commands have too much to do.
func (w *Worker) dispatch(f *frame, buf []byte) {
	if f.op == "interruption" && w.hello.Extensions.Has(Interruption) {
		w.interruption(f, buf)
		return
	}
	if f.op == opPing && w.hello.Extensions.Has(Ping) {
		putBuffer(buf)
		return
	}
	keys, known := requestKeys[f.op]
	var err error
	var r *Running
	switch missing := f.missing(keys...); {
	case f.op == "keepalive":
	case f.op == "":
		err = errors.New("the frame has no op")
	case !known:
		err = fmt.Errorf("unknown op %q", shorten(f.op, maxName))
	case missing != "":
		err = fmt.Errorf("%s without %s", f.op, missing)
	default:
		id := f.text("command_id")
		w.mu.Lock()
		r = w.running[id]
		w.mu.Unlock()
		if r == nil {
			err = fmt.Errorf("unknown command_id %q", shorten(id, maxName))
		}
	}
	if r == nil {
		w.replyNow(f.seq, err)
		putBuffer(buf)
		return
	}
	it := item{frame: *f, buf: buf, cost: len(buf) + itemOverhead}
	if !w.budget.take(it.cost, w.done) {
		return // never acknowledged
	}
	w.hear() // nothing more could, while it was waited for
	if !r.push(it) {
		w.budget.release(it.cost)
		w.replyNow(f.seq, errGivenUp)
		putBuffer(buf)
		return
	}
	if f.op == "complete" {
		w.mu.Lock()
		delete(w.running, r.id)
		w.mu.Unlock()
	}
}

var errGivenUp = errors.New("the master has given this command up")
