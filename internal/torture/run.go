package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

const (
	// timeScale makes a worker's 90 s to come back 2.7 s, and the sweep of five
	// minutes nine seconds: as little as agents that try twice a second can be
	// held to on a loaded machine.
	timeScale = 0.03
	// settleTime is how long a run may take to come to its end once it is left
	// in peace: some quarantines, sweeps and boots, on a loaded machine.
	settleTime = 2 * time.Minute
	token      = "the-token-of-the-torture"
)

// run is one deployment that is tortured.
type run struct {
	dir, program, repo string
	rng                *rand.Rand
	began              time.Time
	plan               plan

	endpoint *process
	address  string // of the endpoint
	proxy    *proxy

	mu     sync.Mutex
	master *process
	client *client.Client
	killed []time.Time
	told   []string
	fig    figures
}

// plan is what the lots decide about a run before it begins.
type plan struct {
	instances, builders, requests int
	lines                         int // that a step prints
	batch, spot, git              bool
	wait                          time.Duration // build_wait_timeout
	boot                          time.Duration
}

func newRun(seed uint64, number int, dir, program, repo string) *run {
	r := &run{dir: dir, program: program, repo: repo, rng: rand.New(rand.NewPCG(seed, uint64(number)))}
	lot := func(of int) bool { return r.rng.IntN(of) == 0 }
	r.plan = plan{
		instances: 1 + r.rng.IntN(3), builders: 1 + r.rng.IntN(2), requests: 2 + r.rng.IntN(4), lines: 20 + r.rng.IntN(60),
		batch: lot(2), spot: lot(3), git: lot(3), boot: time.Duration(r.rng.IntN(300)) * time.Millisecond,
	}
	if lot(2) {
		r.plan.wait = time.Duration(200+r.rng.IntN(1500)) * time.Millisecond
	}
	return r
}

// tell adds a line to the run's story.
func (r *run) tell(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf("%6.2fs  ", time.Since(r.began).Seconds())+fmt.Sprintf(format, args...))
}

func (r *run) story() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{fmt.Sprintf("%+v", r.plan)}, r.told...)
}

// play plays the run, and returns what came of it.
func (r *run) play(ctx context.Context) figures {
	r.began = time.Now()
	r.fig.runs = 1
	if err := r.try(ctx); err != nil && ctx.Err() == nil {
		r.fig.lose(&r.fig.broken, "the run is broken: %v", err)
	}
	return r.fig
}

func (r *run) try(ctx context.Context) (err error) {
	base := filepath.Join(r.dir, "master")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return err
	}
	r.endpoint, err = start(ctx, filepath.Join(r.dir, "ec2.log"), r.program, "ec2", "--json", "--boot-delay", r.plan.boot.String(),
		"--rate-scale", "20", "--dir", filepath.Join(r.dir, "machines"))
	if err != nil {
		return err
	}
	defer r.endpoint.stop(startTimeout) //nolint:errcheck // its machines are judged, not its own end
	r.address = r.endpoint.said["endpoint"].(string)
	if r.proxy, err = newProxy(); err != nil {
		return err
	}
	defer r.proxy.close()
	for name, text := range map[string]string{"master.star": r.configuration(), "token": token + "\n"} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := r.startMaster(ctx); err != nil {
		return err
	}
	defer func() {
		r.mu.Lock()
		m := r.master
		r.mu.Unlock()
		if m != nil {
			m.kill()
		}
	}()

	accepted := r.torment(ctx)

	// Peace.
	r.misbehave("")
	r.proxy.silence(false)
	if err := r.startMaster(ctx); err != nil {
		return err
	}
	r.tell("left in peace")
	if err := r.judge(ctx, accepted); err != nil {
		return err
	}
	r.mu.Lock()
	m := r.master
	r.master = nil
	r.mu.Unlock()
	if err := m.stop(settleTime); err != nil {
		return fmt.Errorf("the master: %w", err)
	}
	return r.judgeLeftovers(ctx)
}

// startMaster starts the master, unless it runs.
func (r *run) startMaster(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.master != nil {
		return nil
	}
	m, err := start(ctx, filepath.Join(r.dir, "master.log"), r.program, "master", filepath.Join(r.dir, "master"), "--json", "--time-scale", fmt.Sprint(timeScale))
	if err != nil {
		return err
	}
	c, err := client.New(m.said["url"].(string), token)
	if err != nil {
		m.kill()
		return err
	}
	if r.client != nil {
		r.client.Close()
	}
	r.master, r.client = m, c
	r.proxy.to(m.said["workers"].(string))
	return nil
}

// killMaster kills the master, if it runs.
func (r *run) killMaster() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.master == nil {
		return
	}
	r.master.kill()
	r.killed = append(r.killed, time.Now())
	r.master = nil
	r.fig.kills++
}

// signalMaster signals the master, if it runs.
func (r *run) signalMaster(times int, s syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.master == nil {
		return
	}
	for n := range times {
		if n > 0 {
			<-time.After(100 * time.Millisecond) // two at once may be one
		}
		_ = r.master.cmd.Process.Signal(s) // it may have gone
	}
	if s == syscall.SIGTERM {
		r.fig.stops++
	}
}

func (r *run) api() *client.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.client
}

// torment asks for builds and disturbs them, and returns the requests that were
// accepted.
func (r *run) torment(ctx context.Context) (accepted []int64) {
	type moment struct {
		at time.Duration
		do func()
	}
	var moments []moment
	add := func(at time.Duration, do func()) { moments = append(moments, moment{at, do}) }
	within := func(d time.Duration) time.Duration { return time.Duration(r.rng.Int64N(int64(d))) }
	for range r.plan.requests {
		builder := fmt.Sprintf("b%d", r.rng.IntN(r.plan.builders))
		var ask func()
		ask = func() {
			made, err := r.api().Force(ctx, web.ForceRequest{Builder: builder})
			if err != nil {
				// It may have been stored all the same: then it is built twice.
				r.tell("a request for %s was not answered", builder)
				if time.Since(r.began) < 10*time.Second {
					add(time.Since(r.began)+500*time.Millisecond, ask)
				}
				return
			}
			r.tell("request %d for %s", made[0].ID, builder)
			accepted = append(accepted, made[0].ID)
		}
		add(within(1500*time.Millisecond), ask)
	}
	for range 1 + r.rng.IntN(5) {
		at, d := within(4*time.Second), r.disturbance()
		add(at, func() {
			r.tell("%s", d.name)
			d.do()
		})
		if d.undo != nil {
			add(at+d.lasts, d.undo)
		}
	}
	for len(moments) > 0 && ctx.Err() == nil {
		next := 0
		for i := range moments {
			if moments[i].at < moments[next].at {
				next = i
			}
		}
		select {
		case <-time.After(moments[next].at - time.Since(r.began)):
		case <-ctx.Done():
			return accepted
		}
		do := moments[next].do
		moments = append(moments[:next], moments[next+1:]...)
		do()
	}
	return accepted
}

// misbehave gives the endpoint a scenario; "" has it behave.
func (r *run) misbehave(scenario string) {
	method := http.MethodPost
	if scenario == "" {
		method = http.MethodDelete
	}
	req, err := http.NewRequest(method, r.address+"/_sim/scenario", strings.NewReader(scenario))
	if err != nil {
		panic(err) // the address is the endpoint's own
	}
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		res.Body.Close()
	}
	if err != nil || res.StatusCode != http.StatusOK {
		r.tell("the endpoint did not take its scenario: %v, %v", err, scenario)
	}
}

// configuration is the run's master.star.
func (r *run) configuration() string {
	userData := fmt.Sprintf("DORMOUSE_MASTER=ws://%s/\nDORMOUSE_WORKER_PASSWORD=%%(worker:secret)s\nDORMOUSE_MAXDELAY=0.5\nDORMOUSE_POWEROFF_COMMAND=poweroff\n", r.proxy.addr())
	if !r.plan.batch {
		userData += "DORMOUSE_WORKER_NAME=%(worker:name)s\n"
	}
	spot := ""
	if r.plan.spot {
		spot = "spot_instance=True, max_spot_price=1.0, price_multiplier=None, fallback_to_on_demand=True,"
	}
	git := ""
	if r.plan.git {
		git = fmt.Sprintf("steps.Git(repourl=%q, mode='incremental'), ", r.repo)
	}
	var builders, names []string
	for i := range r.plan.builders {
		builders = append(builders, fmt.Sprintf("util.BuilderConfig(name='b%d', workernames=['bot'], factory=factory, collapseRequests=False, maxRetries=1000)", i))
		names = append(names, fmt.Sprintf("'b%d'", i))
	}
	return fmt.Sprintf(`
from buildbot.plugins import schedulers, steps, util, worker
import boto3
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:0:interface=127.0.0.1'}}
c['www'] = {'port': 'tcp:0:interface=127.0.0.1'}
session = boto3.session.Session(aws_access_key_id=%q, aws_secret_access_key=%q, region_name='us-east-1', endpoint_url=%q)
c['workers'] = [worker.EC2LatentWorker('bot', 'not-used', ['t3.small', 't3.medium'], ami=%q, session=session, instances=%d,
    build_wait_timeout=%v, missing_timeout=6, check_instance_interval=1, keepalive_interval=2, %s
    user_data=util.Interpolate(%q))]
factory = util.BuildFactory([%s
    steps.ShellCommand(name='lines', command='i=0; while [ $i -lt %d ]; do echo "line $i"; i=$((i+1)); sleep 0.02; done', logEnviron=False),
    steps.ShellCommand(name='last', command='echo last', logEnviron=False)])
c['builders'] = [%s]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=[%s])]
`, ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, r.address, ec2sim.WorkerImageID, r.plan.instances,
		r.plan.wait.Seconds(), spot, userData, git, r.plan.lines, strings.Join(builders, ", "), strings.Join(names, ", "))
}
