package master

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/artifact"
	"github.com/dormouse-ci/dormouse/bootstrap"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/fleet"
	"github.com/dormouse-ci/dormouse/internal/boottime"
	"github.com/dormouse-ci/dormouse/internal/listen"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/notify"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/postgres"
	"github.com/dormouse-ci/dormouse/store/sqlite"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/wire"
)

// leaseTime is how long a master owns its store without renewing. Another one
// on the same database waits so long after a crash; one in the same directory
// on the same machine does not, since a file lock shows that the first is gone.
// Options.TimeScale multiplies it.
const leaseTime = 30 * time.Second

// reconcileTime is how long a starting master waits for the first listing of
// the cloud. An account that takes longer is compared when it answers.
const reconcileTime = 20 * time.Second

// Options of a [Master].
type Options struct {
	Config *config.Master
	// Token is what callers of the REST API must present.
	Token   string
	Version string
	Log     *slog.Logger
	// TimeScale multiplies the master's own limits of time, such as how long a
	// worker may take to come back, but not those of the configuration: for
	// tests in which hours must fit into seconds. 0 is 1.
	TimeScale float64
	// AdoptDeployment says that a database which is a copy is to go on in place
	// of its original, whose master is gone for good.
	AdoptDeployment bool

	wrap func(store.Writer) store.Writer // what writes to the store; for tests
}

// Master is a running build master.
type Master struct {
	setup     atomic.Pointer[setup]
	boots     boots
	version   string
	timeScale float64
	wrap      func(store.Writer) store.Writer // nil: as it is
	log       *slog.Logger
	// refusals is the log of what strangers do.
	refusals  *slog.Logger
	brake     *listen.Brake
	startedAt time.Time
	db        *store.DB
	owner     *store.Owner // of db; nil until the lease is had
	// belief is in the lease: while it holds, no other master can own the store.
	belief     belief
	lock       *os.File
	deployment store.Deployment

	bus    *bus
	queue  *queue
	faults []string // of the configuration's functions, in the last plan; the dispatcher's
	// askFrom is where the next plan goes on to ask them; the dispatcher's.
	askFrom  map[string]int64
	running  runningBuilds
	awaited  awaited
	claims   sync.Mutex // held while a request becomes a build, and by who cancels one
	fleet    *fleet.Fleet
	outbox   *notify.Outbox
	binaries *bootstrap.Binaries // what machines install; nil where none does
	// adopted are builds of an earlier master that go on once this one serves.
	adopted []*runningBuild
	// caretakers end what workers that are not configured any more have left.
	caring     sync.Mutex // guards caretakers and retiring
	caretakers map[string]*latent.Worker
	// retiring are workers that left the configuration while the master runs,
	// until nothing of them is left.
	retiring map[string]*worker
	changing sync.Mutex // held while the configuration is changed
	opening  sync.Mutex // guards accounts
	accounts map[accountKey]*ec2.Account
	runner   *build.Runner
	files    *artifact.Store
	metrics  *metrics

	wire       *wire.Server
	workerLn   net.Listener
	wwwLn      net.Listener
	servers    []*http.Server
	wake       chan struct{}
	ctx        context.Context // of everything but builds and the dispatcher
	cancel     context.CancelFunc
	dispatcher context.CancelFunc
	buildCtx   context.Context
	endBuilds  context.CancelCauseFunc
	// lasting outlives ctx: what must not be lost is tried until it ends.
	lasting  context.Context
	giveUp   context.CancelFunc
	builds   sync.WaitGroup // running builds
	planning sync.WaitGroup // dispatcher
	loops    sync.WaitGroup // lease, servers
	aside    sync.WaitGroup // connections being closed

	stopOnce  sync.Once
	failed    chan error // holds what ended the master, if something did
	failedOne sync.Once
	lost      atomic.Bool // another master owns the store now
	lostOnce  sync.Once
	taken     chan struct{} // closed when lost is set
	draining  atomic.Bool   // no more builds are started
	freeing   atomic.Bool   // workers are about to be told that something has come free
}

// Start opens the store, takes up what an earlier master left, and serves. The
// context is of the start only. On an error nothing is left running.
func Start(ctx context.Context, o Options) (_ *Master, err error) {
	m := &Master{
		version: o.Version, timeScale: o.TimeScale, wrap: o.wrap, log: o.Log, startedAt: time.Now(), bus: newBus(),
		refusals: listen.Brief(o.Log), brake: listen.NewBrake(),
		running:  runningBuilds{byID: map[int64]*runningBuild{}},
		accounts: map[accountKey]*ec2.Account{}, caretakers: map[string]*latent.Worker{}, retiring: map[string]*worker{},
		wake: make(chan struct{}, 1), taken: make(chan struct{}), failed: make(chan error, 1),
	}
	m.setup.Store(&setup{config: o.Config})
	m.queue = &queue{pending: map[int64]dormouse.BuildRequest{}, announce: m.bus.announce}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.lasting, m.giveUp = context.WithCancel(context.Background())
	m.buildCtx, m.endBuilds = context.WithCancelCause(m.ctx)
	defer func() {
		if err != nil {
			m.release()
		}
	}()
	if err := m.openStore(ctx, o.AdoptDeployment); err != nil {
		return nil, err
	}
	m.metrics = newMetrics(m)
	m.startOutbox()
	if err := m.listen(); err != nil {
		return nil, err
	}
	if err := m.recover(ctx); err != nil {
		return nil, err
	}
	m.serve(o.Token)
	return m, nil
}

// WorkerAddr is the address workers attach at, "" when there is none.
func (m *Master) WorkerAddr() string { return address(m.workerLn) }

// WWWAddr is the address of the REST API, "" when it is not served.
func (m *Master) WWWAddr() string { return address(m.wwwLn) }

// WWWURL is where the REST API is called, "" when it is not served.
func (m *Master) WWWURL() string {
	switch {
	case m.wwwLn == nil:
		return ""
	case m.now().config.WWW.TLS.On():
		return "https://" + m.WWWAddr()
	}
	return "http://" + m.WWWAddr()
}

func address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// Failed yields the reason when the master cannot go on: it lost its store to
// another one.
func (m *Master) Failed() <-chan error { return m.failed }

func (m *Master) fatal(err error) {
	m.failedOne.Do(func() { m.failed <- err })
}

// superseded reports whether a store error says that another master owns the
// store now, and if so ends this one.
func (m *Master) superseded(err error) bool {
	if !errors.Is(err, store.ErrSuperseded) {
		return false
	}
	m.lostStore(err)
	return true
}

// lostStore ends a master whose store belongs to another one: what it knows is
// not true any more, so it must touch neither the store nor an instance.
func (m *Master) lostStore(err error) {
	m.lost.Store(true)
	m.lostOnce.Do(func() { close(m.taken) })
	m.fatal(err)
}

// insist carries out a write that must not be lost: whatever the store has against
// it, but that another write came first, it is tried again until ctx ends. Where
// another master owns the store, this one ends.
func (m *Master) insist(ctx context.Context, what string, write func() error) error {
	err := m.owner.Until(ctx, what, func() error {
		err := write()
		switch dormouse.CodeOf(err) {
		case "", dormouse.Conflict, dormouse.Unavailable, dormouse.Unanswered:
			return err
		}
		return dormouse.Errorf(dormouse.Unavailable, "%w", err)
	})
	m.superseded(err)
	return err
}

func (m *Master) storeFailed(what string, err error) {
	m.log.Error(what+" failed; trying again", "error", err)
}

// openStore locks the base directory, opens the database and becomes its owner.
// A database that is a copy is left as it is, except where it is to be adopted:
// the original's master may be at work, and all that this one would do (end
// instances, start others, send mails) would be done twice.
func (m *Master) openStore(ctx context.Context, adopt bool) error {
	base := m.now().config.BaseDir
	lock, err := lockDir(base)
	if err != nil {
		return err
	}
	m.lock = lock
	if m.db, err = openDB(ctx, m.now().config.DB, m.wrap); err != nil {
		return err
	}
	if m.deployment, err = m.db.Deployment(ctx); err != nil {
		return err
	}
	if err := m.db.CheckPlace(ctx); errors.Is(err, store.ErrCopy) && adopt {
		m.log.Warn("going on in place of another master, as --adopt-deployment says", "deployment", m.deployment.ID, "error", err)
	} else if err != nil {
		return err
	}
	name, err := ownerName(lock)
	if err != nil {
		return err
	}
	// The lock of the directory proves that the last owner of this name is
	// gone, so its lease need not be waited for.
	now, sent := time.Now(), boottime.Now()
	if m.owner, err = m.db.AcquireLease(ctx, name, m.scaled(leaseTime), now); err != nil {
		return err
	}
	m.owner.SetLogger(m.log)
	m.belief.renewed(sent, m.scaled(leaseTime))
	host, _, _ := strings.Cut(name, " ")
	return m.owner.TakePlace(ctx, host, now)
}

// openDB opens the database that a configuration names, with its writers wrapped
// where wrap is not nil.
func openDB(ctx context.Context, c config.DB, wrap func(store.Writer) store.Writer) (*store.DB, error) {
	connect, location := sqlite.Connect, c.Path
	if c.Driver == "postgresql" {
		connect, location = postgres.Connect, c.URL
	}
	b, err := connect(ctx, location)
	if err != nil {
		return nil, err
	}
	if wrap != nil {
		b.Writer = wrap(b.Writer)
		if b.Lease != nil {
			b.Lease = wrap(b.Lease)
		}
	}
	return store.New(ctx, b)
}

// The parts of the connections that each port may have. A build's worker holds
// one; people and programs look in.
const (
	workersShare = 0.7
	wwwShare     = 0.3
)

func (m *Master) open(address string, t config.TLS, part float64) (net.Listener, error) {
	o := listen.Options{Limits: listen.Share(part), Log: m.log}
	if t.On() {
		var err error
		if o.Certificate, err = listen.LoadCertificate(t.Certificate, t.Key, m.log); err != nil {
			return nil, err
		}
	}
	l, err := listen.Listen(m.ctx, address, o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (m *Master) listen() (err error) {
	if m.workerLn, err = m.open(m.now().config.Protocols.MsgpackListen, m.now().config.Protocols.TLS, workersShare); err != nil {
		return dormouse.Errorf(dormouse.Configuration, "workers cannot be awaited at %s (c['protocols']): %w", m.now().config.Protocols.MsgpackListen, err)
	}
	if m.now().config.WWW.Listen == "" {
		return nil
	}
	if m.wwwLn, err = m.open(m.now().config.WWW.Listen, m.now().config.WWW.TLS, wwwShare); err != nil {
		return dormouse.Errorf(dormouse.Configuration, "the REST API cannot be served at %s (c['www']): %w", m.now().config.WWW.Listen, err)
	}
	return nil
}

// recover takes up what the store holds: builds that an earlier master did not
// finish are gone on with or go back to the queue, latent workers go on where they were, and the
// cloud is compared with the ledger.
func (m *Master) recover(ctx context.Context) error {
	unfinished, err := m.db.UnfinishedBuilds(ctx)
	if err != nil {
		return err
	}
	if m.files, err = openFiles(m.now().config); err != nil {
		return err
	}
	if err := m.checkFiles(ctx); err != nil {
		return err
	}
	m.runner = &build.Runner{
		Store: m.owner, Announce: m.bus.announce, Log: m.log,
		Files: files{m.files, m}, Triggers: triggers{m},
	}

	m.fleet, err = fleet.New(ctx, fleet.Options{
		Store: records{m.db, m.owner}, Deployment: m.deployment.ID, Live: m.generationLives,
		Ended: func(name string, generation int64, reason string) {
			m.instanceEnded(name, generation, reason)
			m.tellFreed()
		},
		InCharge: m.inCharge,
		Price:    m.priceOfInstance,
		Changed: func(i dormouse.Instance) {
			m.bus.announce(dormouse.Event{Kind: dormouse.EventInstanceChanged, Instance: &i})
		},
		Token:  ec2.Token,
		Budget: fleet.Budget(m.now().config.Budget), SpentToday: m.spentToday,
		TimeScale: m.timeScale, Log: m.log,
	})
	if err != nil {
		return err
	}
	if err := m.addWorkers(ctx, unfinished); err != nil {
		return err
	}
	pending, err := m.db.PendingRequests(ctx)
	if err != nil {
		return err
	}
	m.queue.put(pending...)
	ctx, cancel := context.WithTimeout(ctx, reconcileTime)
	defer cancel()
	for account, err := range m.fleet.Reconcile(ctx) {
		// Said, and tried again by the fleet: an endpoint that is away must not
		// keep the master from serving those that are not.
		m.log.Error("the instances of an account could not be listed; whatever was left there is looked for again", "account", account, "error", err)
	}
	return nil
}

// addWorkers makes what the configuration says of builders and workers, each
// worker with what the store has of it and of its builds, and begins their lives.
func (m *Master) addWorkers(ctx context.Context, unfinished []dormouse.Build) error {
	stored, err := m.storedWorkers(ctx)
	if err != nil {
		return err
	}
	next, added, err := m.newSetup(ctx, m.now().config)
	if err != nil {
		return err
	}
	for _, w := range added {
		if err := m.take(w.worker, w.definition, stored[w.worker.name]); err != nil {
			return err
		}
	}
	m.setup.Store(next)
	if err := m.takeUp(ctx, unfinished); err != nil {
		return err
	}
	// Once the table is complete: what a host does first asks for others.
	for _, w := range next.workers {
		if w.latent != nil {
			w.latent.Start()
		}
	}
	return m.endLeftovers(ctx, stored)
}

func (m *Master) storedWorkers(ctx context.Context) (map[string]store.WorkerRecord, error) {
	records, err := m.db.Workers(ctx)
	if err != nil {
		return nil, err
	}
	stored := make(map[string]store.WorkerRecord, len(records))
	for _, r := range records {
		stored[r.Name] = r
	}
	return stored, nil
}

// take gives a worker its definition, and what the store has of it.
func (m *Master) take(w *worker, d *definition, record store.WorkerRecord) error {
	w.definition.Store(d)
	if d.member == nil {
		w.paused = record.Paused
		return nil
	}
	return m.host(w, record)
}

// generationLives is the fleet's question before it ends an instance.
func (m *Master) generationLives(name string, generation int64) bool {
	w := m.hosted(name)
	if w == nil || w.latent == nil {
		return false
	}
	s := w.latent.State()
	return s.Live() && s.Generation == generation
}

// workerNames are the workers that a definition stands for: one of its name, or
// N of its name with a number.
func workerNames(c config.Worker) []string {
	if c.EC2 == nil || c.EC2.Instances <= 1 {
		return []string{c.Name}
	}
	names := make([]string, c.EC2.Instances)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", c.Name, i+1)
	}
	return names
}

// expandWorkerNames returns the builders with each definition's name replaced
// by the workers it stands for.
func expandWorkerNames(c *config.Master) []dormouse.Builder {
	names := map[string][]string{}
	for _, w := range c.Workers {
		names[w.Name] = workerNames(w)
	}
	out := make([]dormouse.Builder, len(c.Builders))
	for i, b := range c.Builders {
		out[i] = b
		out[i].WorkerNames = nil
		for _, n := range b.WorkerNames {
			out[i].WorkerNames = append(out[i].WorkerNames, names[n]...)
		}
	}
	return out
}

// serve opens the doors: from here on the world can see and change things.
func (m *Master) serve(token string) {
	m.wire = wire.NewServer(wire.ServerOptions{
		Authenticate: m.authenticate, Attach: m.attach, Detached: m.detached, Interrupted: m.interrupted, Log: m.log,
	})
	mux := http.NewServeMux()
	mux.Handle("/", m.wire)
	mux.HandleFunc("/lease", m.serveLease)
	if m.binaries != nil {
		mux.Handle(bootstrap.Prefix, m.binaries)
	}
	m.serveOn(m.workerLn, listen.NewServer(mux, m.log))
	if m.wwwLn != nil {
		h := web.NewHandler(web.Options{
			Service: m, Token: token, Log: m.log, Metrics: m.metrics.registry, MaxStreams: listen.Share(wwwShare).Connections / 2,
		})
		m.serveOn(m.wwwLn, web.NewServer(h))
	}
	ctx, cancel := context.WithCancel(m.ctx)
	m.dispatcher = cancel
	for _, r := range m.adopted {
		m.builds.Go(func() { m.runBuild(r) })
	}
	for _, w := range m.now().workers {
		if w.latent == nil {
			m.watchPlain(w)
		}
	}
	m.planning.Go(func() { m.dispatchLoop(ctx) })
	m.loops.Go(m.renewLease)
	m.wakeUp()
}

func (m *Master) serveOn(l net.Listener, s *http.Server) {
	m.servers = append(m.servers, s)
	m.loops.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			m.fatal(fmt.Errorf("serving at %s: %w", l.Addr(), err))
		}
	})
}

func (m *Master) renewLease() {
	interval := m.scaled(leaseTime) / 3
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-m.ctx.Done():
			return
		}
		again := interval
		if err := m.inCharge(m.ctx); err != nil && m.ctx.Err() == nil && !m.superseded(err) {
			m.storeFailed("renewing the store's lease", err)
			again = min(interval, storeRetry) // workers may attach again when it works
		}
		t.Reset(again)
	}
}

// inCharge renews the lease; an error says that another master may own the store
// now.
func (m *Master) inCharge(ctx context.Context) error {
	sent := boottime.Now()
	if err := m.owner.RenewLease(ctx, m.scaled(leaseTime), time.Now()); err != nil {
		m.superseded(err)
		return err
	}
	m.belief.renewed(sent, m.scaled(leaseTime))
	return nil
}

// leased reports whether the lease still runs: no other master owns the store.
func (m *Master) leased() bool {
	return !m.lost.Load() && m.belief.holds(boottime.Now())
}

var errNotInCharge = dormouse.Errorf(dormouse.Unavailable, "this master is not certain to be in charge any more: try again")
