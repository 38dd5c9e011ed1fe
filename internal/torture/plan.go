package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// plan is what the lots decide about a run before it begins.
type plan struct {
	instances, builders, requests int
	lines                         int // that a step prints
	batch, spot, git              bool
	wait                          time.Duration // build_wait_timeout
	boot                          time.Duration

	stock           bool // the workers are Debian's buildbot-worker
	watchdog        bool // machines have one
	gone            bool // the masters are away for longer than its lease
	volume, address bool
	keep            bool // on_shutdown='keep'
	clock           bool // the masters' wall clock jumps
	rival           bool // two masters, each in a directory of its own, want one database
	strict          bool // the agents ask for signs of life every two seconds
	// taken is a rule of the endpoint by which EC2 takes spot instances back, in the
	// whole run, and long enough after its notices for agents to hear of them; "" for
	// none.
	taken string
}

func draw(rng *rand.Rand) plan {
	lot := func(of int) bool { return rng.IntN(of) == 0 }
	p := plan{
		instances: 1 + rng.IntN(3), builders: 1 + rng.IntN(2), requests: 2 + rng.IntN(4), lines: 20 + rng.IntN(60),
		batch: lot(2), spot: lot(3), git: lot(3), boot: time.Duration(rng.IntN(300)) * time.Millisecond,
	}
	if lot(2) {
		p.wait = time.Duration(200+rng.IntN(1500)) * time.Millisecond
	}
	p.stock, p.watchdog, p.volume, p.address = lot(8), lot(4), lot(6), lot(6)
	p.gone = lot(4) && p.watchdog
	p.keep, p.clock, p.rival, p.strict = lot(4), lot(4), lot(2), lot(2)
	if lot(5) {
		// An agent asks when it starts, and every 5 s.
		p.spot, p.wait, p.taken = true, 6*time.Second, interruptions[rng.IntN(len(interruptions))]
	}
	if p.stock {
		p.batch = false // name and password stand in the user data
	}
	if p.volume || p.address {
		p.instances = 1
	}
	if p.clock {
		// Masters on one database compare their clocks for as long as its lease
		// is a time of day; which of two that jump is right, none can say.
		p.rival = false
	}
	return p
}

const (
	token    = "the-token-of-the-torture"
	password = "the-password-of-the-torture"
	// watchedImageID boots an agent with a watchdog beside it.
	watchedImageID = "ami-0d0c0ffee0000003a"
	stockWorker    = "/usr/bin/buildbot-worker"
)

// watchedImage is that image, as the endpoint's command line has it.
func watchedImage(program string) string {
	return fmt.Sprintf("%s=%s watchdog --from-user-data & exec %s worker --from-user-data", watchedImageID, program, program)
}

// image is the image of the run's workers, and their user data.
func (r *run) image() (id, userData string) {
	if r.plan.stock {
		return ec2sim.ScriptImageID, r.stockScript()
	}
	userData = fmt.Sprintf("DORMOUSE_MASTER=ws://%s/\nDORMOUSE_WORKER_PASSWORD=%%(worker:secret)s\nDORMOUSE_MAXDELAY=0.5\nDORMOUSE_POWEROFF_COMMAND=poweroff\n", r.wire.Addr())
	if !r.plan.batch {
		userData += "DORMOUSE_WORKER_NAME=%(worker:name)s\n"
	}
	if r.plan.strict {
		userData += "DORMOUSE_KEEPALIVE=2\n"
	}
	if r.plan.watchdog {
		return watchedImageID, userData + "DORMOUSE_LEASE=" + lease.String() + "\n"
	}
	return ec2sim.WorkerImageID, userData
}

// stockScript is what cloud-init would run on a machine with a stock worker.
func (r *run) stockScript() string {
	watchdog := ""
	if r.plan.watchdog {
		watchdog = fmt.Sprintf("umask 077\necho '%%(worker:password)s' > password\n%s watchdog --master %s --name '%%(worker:name)s' --password-file password "+
			"--instance-id auto --lease %v --poweroff-command poweroff &\n", r.program, r.wire.Addr(), lease)
	}
	return fmt.Sprintf("#!/bin/sh\nexport PYTHONDONTWRITEBYTECODE=1\n%s%s create-worker --protocol=msgpack_experimental_v7 --maxdelay=1 worker %s '%%(worker:name)s' '%%(worker:password)s' &&\n"+
		"exec %s start --nodaemon worker\n", watchdog, stockWorker, r.wire.Addr(), stockWorker)
}

// options are what the lots add to the worker.
func (r *run) options() string {
	var out strings.Builder
	if r.plan.spot {
		out.WriteString("spot_instance=True, max_spot_price=1.0, price_multiplier=None, fallback_to_on_demand=True, ")
	}
	if r.plan.keep {
		out.WriteString("on_shutdown='keep', ")
	}
	if r.has.volume != "" {
		fmt.Fprintf(&out, "volumes=[(%q, '/dev/sdh')], ", r.has.volume)
	}
	if r.has.address != "" {
		fmt.Fprintf(&out, "elastic_ip=%q, ", r.has.address)
	}
	return out.String()
}

// configuration is the run's master.star.
func (r *run) configuration() string {
	database, git := "", ""
	if r.database != "" {
		database = fmt.Sprintf("c['db'] = {'db_url': %q}", r.database)
	}
	if r.plan.git {
		git = fmt.Sprintf("steps.Git(repourl=%q, mode='incremental'), ", r.repo)
	}
	missing := 6
	if r.plan.stock {
		missing = 30 // Python starts twice on each machine
	}
	var builders, names []string
	for i := range r.plan.builders {
		builders = append(builders, fmt.Sprintf("util.BuilderConfig(name='b%d', workernames=['bot'], factory=factory, collapseRequests=False, maxRetries=1000)", i))
		names = append(names, fmt.Sprintf("'b%d'", i))
	}
	image, userData := r.image()
	// What a command does is seen outside of its machine: in the journal.
	did := func(what string) string {
		return fmt.Sprintf(`echo %%(prop:buildername)s/%%(prop:buildnumber)s %s >> "%s"`, what, r.journal())
	}
	return fmt.Sprintf(`
from buildbot.plugins import schedulers, steps, util, worker
import boto3
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:0:interface=127.0.0.1'}}
c['www'] = {'port': 'tcp:0:interface=127.0.0.1'}
%s
session = boto3.session.Session(aws_access_key_id=%q, aws_secret_access_key=%q, region_name=%q, endpoint_url=%q)
c['workers'] = [worker.EC2LatentWorker('bot', %q, ['t3.small', 't3.medium'], ami=%q, session=session, instances=%d,
    build_wait_timeout=%v, missing_timeout=%d, check_instance_interval=1, keepalive_interval=2, %s
    user_data=util.Interpolate(%q))]
factory = util.BuildFactory([%s
    steps.ShellCommand(name='lines', logEnviron=False, command=util.Interpolate(
        '%s; i=0; while [ $i -lt %d ]; do echo "line $i"; i=$((i+1)); sleep 0.02; done')),
    steps.ShellCommand(name='last', command=util.Interpolate('%s'), logEnviron=False)])
c['builders'] = [%s]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=[%s])]
`, database, ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, region, r.address,
		password, image, r.plan.instances, r.plan.wait.Seconds(), missing, r.options(), userData,
		git, did("lines"), r.plan.lines, did("last"), strings.Join(builders, ", "), strings.Join(names, ", "))
}
