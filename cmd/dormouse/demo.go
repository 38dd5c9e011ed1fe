package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/listen"
	"github.com/dormouse-ci/dormouse/internal/loopback"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

// demoInstanceType is what the demo's workers are. Any that the endpoint knows
// would do; this one is cheap, and its price is AWS's own.
const demoInstanceType = "t3.small"

// demoMaxInstances bounds how many workers one demo has: each is a process of
// this machine. More builds than that share them.
const demoMaxInstances = 48

// demoStopTime is how long the end of a demo may take before it is reported as
// it is: a machine's grace between SIGTERM and SIGKILL, and a few listings, on
// a busy machine.
const demoStopTime = 2 * time.Minute

type demoFlags struct {
	repo             string
	command          string
	builds           int
	bootDelay        time.Duration
	buildWaitTimeout time.Duration
	keep             bool
	json             bool
	spot             bool
	scenario         string
	kill             bool
}

func newDemoCommand() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run builds on instances of a local EC2 endpoint: all of Dormouse, without an account",
		Long: `Run builds on instances of a local EC2 endpoint: all of Dormouse on this
machine, without an account, and nothing is left behind.

A local EC2 endpoint and a master are started on loopback ports, and a build is
forced. An instance is started for it through the EC2 API; it boots (a process of
this machine), its worker attaches, checks a small sample repository out and
runs its steps; after the idle time the instance is terminated. The exit code is
0 only if every build succeeded and no instance is left alive.`,
		Example: `  dormouse demo
  dormouse demo --builds 3 --build-wait-timeout 0s
  dormouse demo --repo . --command 'make check'
  dormouse demo --spot
  dormouse demo --scenario examples/scenarios/throttled.json
  dormouse demo --kill-master
  dormouse demo --keep              and then, elsewhere: dormouse workers`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.repo, "repo", "", "build what is committed in the git repository at this `path` instead of the sample")
	flags.StringVar(&f.command, "command", "", "what to run in the checkout, by the shell (default for --repo: git log --oneline -n 5)")
	flags.IntVar(&f.builds, "builds", 1, "how many builds to ask for at once")
	flags.DurationVar(&f.bootDelay, "boot-delay", 2*time.Second, "how long an instance takes to boot")
	flags.DurationVar(&f.buildWaitTimeout, "build-wait-timeout", 3*time.Second, "how long an idle instance is kept; 0s: each runs one build")
	flags.BoolVar(&f.keep, "keep", false, "leave master and endpoint serving until interrupted")
	flags.BoolVar(&f.json, "json", false, "print the summary as one JSON object; everything else goes to stderr")
	flags.BoolVar(&f.spot, "spot", false, "run on spot instances, bidding by the price history, at most the on-demand price")
	flags.BoolVar(&f.kill, "kill-master", false, "kill the master in the middle of a step, and start it again: the build goes on")
	flags.StringVar(&f.scenario, "scenario", "", "`file` that says how the endpoint misbehaves, in JSON")
	return cmd
}

// demo is a running demonstration.
type demo struct {
	demoFlags
	*printer
	dir      string // everything that it writes
	head     string // the commit of --repo
	began    time.Time
	scenario *ec2sim.Scenario // nil: the endpoint behaves
	endpoint *ec2sim.Server
	address  string // of the endpoint
	master   demoMaster
	token    string
	client   *client.Client
	live     *liveLine
}

func runDemo(cmd *cobra.Command, f demoFlags) (err error) {
	switch {
	case f.builds < 1 || f.builds > 1000:
		return usageErrorf("--builds is from 1 to 1000")
	case f.kill && (f.builds != 1 || f.repo != "" || f.command != ""):
		return usageErrorf("--kill-master is about one build of the sample: leave --builds, --repo and --command out")
	case f.bootDelay < 0 || f.buildWaitTimeout < 0:
		return usageErrorf("--boot-delay and --build-wait-timeout cannot be negative: a demo ends")
	}
	if _, err := exec.LookPath("git"); err != nil {
		return dormouse.Errorf(dormouse.Configuration, "the demo needs git, which is not on the PATH: install it and try again")
	}
	ctx := cmd.Context()
	d := &demo{demoFlags: f, printer: newPrinter(cmd), began: time.Now()}
	if f.scenario != "" {
		if d.scenario, err = readScenario(f.scenario); err != nil {
			return err
		}
	}
	if f.repo != "" {
		if err := d.checkRepository(ctx); err != nil {
			return &exitError{code: exitUsage, err: err}
		}
	}
	if f.json { // the summary has stdout to itself
		d.printer = &printer{out: cmd.ErrOrStderr(), errs: cmd.ErrOrStderr(), now: time.Now}
	}
	d.live = startLiveLine(d.printer)
	defer d.live.stop()

	if d.dir, err = os.MkdirTemp("", "dormouse-demo-"); err != nil {
		return err
	}
	summary, err := d.run(ctx)
	d.live.stop()
	if err == nil || errors.Is(err, context.Canceled) || d.master == nil {
		if rerr := os.RemoveAll(d.dir); rerr != nil {
			d.notef("The directory %s could not be removed: %v\n", d.dir, rerr)
		}
	} else {
		d.notef("What the master logged is in %s\n", filepath.Join(d.dir, "master.log"))
	}
	if summary != nil {
		if err := d.report(cmd.OutOrStdout(), summary); err != nil {
			return err
		}
	}
	switch {
	case err != nil:
		return err
	case summary.Result != dormouse.Success.String() || summary.InstancesAlive > 0:
		return errFailed
	}
	return nil
}

// run does it all, and ends what it started whatever happens. The summary is
// nil when it did not come so far.
func (d *demo) run(ctx context.Context) (s *summary, err error) {
	stopEndpoint, err := d.startEndpoint()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopEndpoint()) }()
	repo, err := d.repository(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.startMaster(ctx, repo); err != nil {
		return nil, err
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		d.live.set("stopping")
		ctx, cancel := context.WithTimeout(context.Background(), demoStopTime)
		defer cancel()
		d.master.Stop(ctx)
	}
	defer stop()
	defer d.client.Close()

	s, err = d.builds(ctx)
	if err == nil && d.keep {
		d.keepServing(ctx)
	}
	if err != nil && ctx.Err() != nil {
		d.printf("Interrupted: ending what runs.\n")
	}
	stop()
	ledger := d.endpoint.Ledger()
	if s != nil {
		s.settle(ledger)
	} else {
		d.printf("%s started, %d alive.\n", count(ledger.Started, "instance"), ledger.Alive())
	}
	return s, err
}

// startEndpoint serves the local EC2 endpoint, and returns how to end it.
func (d *demo) startEndpoint() (stop func() error, err error) {
	boot := d.bootDelay
	if boot == 0 {
		boot = -1 // 0 would be the default
	}
	passToolchain()
	d.endpoint, err = ec2sim.New(ec2sim.Options{
		Dir: filepath.Join(d.dir, "instances"), BootDelay: boot, MaxInstances: 2 * demoMaxInstances,
		Scenario: d.scenario, PassEnv: toolchainVariables, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	listener, err := listen.Listen(context.Background(), "127.0.0.1:0", listen.Options{Limits: listen.Share(ec2Share), Log: quiet})
	if err != nil {
		return nil, err
	}
	server := listen.NewServer(d.endpoint, quiet)
	go server.Serve(listener) //nolint:errcheck // it ends when it is closed, below
	d.address = "http://" + listener.Addr().String()
	d.printf("%s local EC2 endpoint at %s\n", d.at(), d.address)
	if d.scenario != nil {
		d.printf("%s scenario: %s\n", d.at(), cmp.Or(d.scenario.Description(), d.demoFlags.scenario))
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), ec2CloseTimeout)
		defer cancel()
		err := d.endpoint.Close(ctx)
		return errors.Join(err, server.Close())
	}, nil
}

// toolchainVariables are what a build of a Go project finds its caches by; an
// instance's home is empty.
var toolchainVariables = []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOTOOLCHAIN", "GOSUMDB", "GONOSUMDB"}

// passToolchain sets the Go toolchain's variables that are defaults so far, so
// that instances share this user's caches.
func passToolchain() {
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return // no Go here: nothing to share
	}
	values := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, name := range []string{"GOCACHE", "GOMODCACHE"} {
		if os.Getenv(name) == "" && i < len(values) {
			_ = os.Setenv(name, values[i]) // fails for an invalid name only
		}
	}
}

// startMaster writes the demo's configuration, and starts a master with it as
// "dormouse master" would.
func (d *demo) startMaster(ctx context.Context, repo string) error {
	base := filepath.Join(d.dir, "master")
	if err := os.Mkdir(base, 0o700); err != nil {
		return err
	}
	var ports [2]int // 0 takes any that is free
	for i := range ports {
		if !d.kill {
			break
		}
		var err error
		if ports[i], err = loopback.FreePort(); err != nil {
			return err
		}
	}
	file := filepath.Join(base, "master.star")
	if err := os.WriteFile(file, []byte(d.configuration(repo, ports)), 0o600); err != nil {
		return err
	}
	c, err := config.Load(file, config.Options{})
	if err != nil {
		return err
	}
	d.token = rand.Text()
	if d.kill {
		err = d.startMasterProcess(base)
	} else {
		err = d.startMasterHere(ctx, c)
	}
	if err != nil {
		return err
	}
	d.printf("%s master at http://%s, workers attach at %s\n", d.at(), d.master.WWWAddr(), d.master.WorkerAddr())
	d.client, err = client.New("http://"+d.master.WWWAddr(), d.token)
	return err
}

func (d *demo) startMasterHere(ctx context.Context, c *config.Master) error {
	logFile, err := os.Create(filepath.Join(d.dir, "master.log"))
	if err != nil {
		return err
	}
	m, err := master.Start(ctx, master.Options{
		Config: c, Token: d.token, Version: version(), Log: slog.New(slog.NewTextHandler(logFile, nil)),
	})
	if err == nil {
		d.master = m
	}
	return err
}

// configuration is the demo's master.star.
func (d *demo) configuration(repo string, ports [2]int) string {
	var steps strings.Builder
	fmt.Fprintf(&steps, "    steps.Git(repourl=%q, mode='incremental'),\n", repo)
	switch {
	case d.command != "":
		fmt.Fprintf(&steps, "    steps.ShellCommand(name='command', command=%q, logEnviron=False),\n", d.command)
	case d.repo != "":
		steps.WriteString("    steps.ShellCommand(name='log', command=['git', 'log', '--oneline', '-n', '5'], logEnviron=False),\n")
	default:
		steps.WriteString("    steps.ShellCommand(name='compile', command=['sh', './build.sh'], logEnviron=False),\n")
		steps.WriteString("    steps.ShellCommand(name='test', command=['sh', './test.sh'], logEnviron=False),\n")
		steps.WriteString(d.longStep())
		steps.WriteString(d.killSteps())
	}
	return fmt.Sprintf(`from buildbot.plugins import schedulers, steps, util, worker
import boto3

c = BuildmasterConfig = {}
c['title'] = 'Dormouse demo'
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:%[11]d:interface=127.0.0.1'}}
c['www'] = {'port': 'tcp:%[12]d:interface=127.0.0.1'}

session = boto3.session.Session(
    aws_access_key_id=%[1]q,
    aws_secret_access_key=%[2]q,
    region_name='us-east-1',
    endpoint_url=%[3]q,
)
c['workers'] = [
    worker.EC2LatentWorker('demo', %[4]q, %[5]q,
                           ami=%[6]q,
                           session=session,
                           keypair_name='dormouse-demo',
%[10]s                           user_data=util.Interpolate('''\
DORMOUSE_MASTER=%%(worker:master)s
DORMOUSE_WORKER_PASSWORD=%%(worker:secret)s
DORMOUSE_POWEROFF_COMMAND=poweroff
'''),
                           instances=%[7]d,
                           build_wait_timeout=%[8]v,
                           missing_timeout=60,
                           check_instance_interval=1),
]
factory = util.BuildFactory([
%[9]s])
c['builders'] = [
    util.BuilderConfig(name='demo', workernames=['demo'], factory=factory, collapseRequests=False),
]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['demo'])]
`, ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, d.address, rand.Text(), demoInstanceType, ec2sim.WorkerImageID,
		min(d.demoFlags.builds, demoMaxInstances), d.buildWaitTimeout.Seconds(), steps.String(), d.placement(), ports[0], ports[1])
}

// builds asks for the builds, follows them, and waits for their instances'
// end.
func (d *demo) builds(ctx context.Context) (*summary, error) {
	tellInstances := d.tellInstances()
	defer tellInstances()
	c := &connection{Client: d.client, printer: d.printer}
	made, err := d.client.Force(ctx, web.ForceRequest{Builder: "demo", Count: d.demoFlags.builds, Reason: "the demo"})
	if err != nil {
		return nil, err
	}
	f := newFollower(c, true)
	if err := f.run(ctx, "demo", made); err != nil {
		return nil, err
	}
	s, err := d.summarize(ctx, f.ends(made))
	if err == nil && d.kill {
		err = d.checkKilled(ctx, s)
	}
	if err != nil || d.keep {
		return s, err
	}
	if d.buildWaitTimeout > 0 {
		d.printf("%s the builds are done; idle instances end after %v\n", d.at(), d.buildWaitTimeout)
	}
	return s, d.awaitEnd(ctx)
}

// awaitEnd waits until every instance has ended by itself, which the idle time
// brings about.
func (d *demo) awaitEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.buildWaitTimeout+demoStopTime)
	defer cancel()
	events, unsubscribe := d.master.Subscribe()
	defer func() { unsubscribe() }()
	for {
		live, err := d.master.Instances(ctx, false)
		if err != nil {
			return err
		}
		if len(live) == 0 {
			return nil
		}
		select {
		case _, ok := <-events:
			if !ok { // it fell behind: listen anew
				events, unsubscribe = d.master.Subscribe()
			}
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // the summary says what is alive
			}
			return ctx.Err()
		}
	}
}

func (d *demo) keepServing(ctx context.Context) {
	d.printf(`
Serving until interrupted.

  master    http://%[1]s       export DORMOUSE_URL=http://%[1]s DORMOUSE_TOKEN=%[2]s
  endpoint  %[3]s       ledger: %[3]s/_sim/ledger

Try: dormouse force demo --wait --log;  dormouse workers;  dormouse instances
`, d.master.WWWAddr(), d.token, d.address)
	<-ctx.Done()
}

// at is the time since the demo began, as its lines start with.
func (d *demo) at() string {
	return d.paint(grey, fmt.Sprintf("%6.1fs", time.Since(d.began).Seconds()))
}

// tellInstances prints what becomes of instances, and keeps the status line.
// The function it returns ends that.
func (d *demo) tellInstances() (stop func()) {
	events, unsubscribe := d.master.Subscribe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		told := map[string]dormouse.Instance{}
		state := newDemoState(d.demoFlags.builds)
		kill := &killer{demo: d}
		for e := range events {
			kill.take(e)
			if i := e.Instance; i != nil {
				d.tellInstance(told[i.ID], *i)
				told[i.ID] = *i
			}
			state.take(e)
			d.live.set(state.String())
		}
	}()
	return func() {
		unsubscribe()
		<-done
	}
}

func (d *demo) tellInstance(before, now dormouse.Instance) {
	say := func(format string, args ...any) {
		d.printf("%s instance %s %s\n", d.at(), now.ID, fmt.Sprintf(format, args...))
	}
	if before.LaunchedAt.IsZero() {
		say("(%s, %s) was started for worker %s", now.InstanceType, now.Market, now.Worker)
	}
	if before.RunningAt.IsZero() && !now.RunningAt.IsZero() {
		say("is running after %s", fine(now.RunningAt.Sub(now.LaunchedAt)))
	}
	if before.AttachedAt.IsZero() && !now.AttachedAt.IsZero() {
		say("has its worker attached")
	}
	if before.StoppingAt.IsZero() && !now.StoppingAt.IsZero() {
		say("is being terminated")
	}
	if before.EndedAt.IsZero() && !now.EndedAt.IsZero() {
		say("has ended (%s)", cmp.Or(now.StateReason, string(now.State)))
	}
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

var _ io.Writer = (*liveLine)(nil)
