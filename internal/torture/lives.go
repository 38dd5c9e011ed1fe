package main

import (
	"fmt"
	"strings"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// life is a course of things whose points are gone through: one build of one
// worker.
type life struct {
	name string
	// worker are the arguments of the worker that differ from the others'.
	worker string
	// belongs gives the worker a volume and an address.
	belongs bool
	// pause is a command between two lines that the build prints.
	pause    string
	scenario string // of the endpoint
	stops    bool   // the master is told to stop while the instance idles
	busy     bool   // or while the build runs
	// fails is a kind of write of which the second fails.
	fails string
	// after, if not "", has only what comes after the first of a kind gone
	// through: what is before it is what another life has.
	after string
	// instances is how many there are where nobody is killed.
	instances int
	// builds is how many there are at the most where nobody is killed; 0 is one.
	builds int
	// late is how many more instances there may be, one after the other, where a
	// busy machine takes longer to attach than an instance is given.
	late int
}

var lives = []life{
	{
		name: "a build", instances: 1,
	},
	{
		name: "a machine that learns who it is", instances: 1, after: "opening launch",
		worker: "user_data=ANONYMOUS",
	},
	{
		name: "no spot capacity", instances: 1,
		worker:   "spot_instance=True, fallback_to_on_demand=True",
		scenario: `{"rules": [{"name": "no spot", "when": {"market": "spot"}, "do": {"capacity": 0}}]}`,
	},
	{
		name: "a lost answer", instances: 1,
		scenario: `{"rules": [{"name": "lost", "when": {"action": "RunInstances", "times": 4}, "do": {"lose_answer": true}}]}`,
	},
	{
		name: "an instance that never attaches", instances: 2, late: 2, after: "settling a launch",
		worker:   "missing_timeout=10",
		scenario: `{"rules": [{"name": "dead", "when": {"times": 1}, "do": {"never_boot": true}}]}`,
	},
	{
		name: "a volume and an address", instances: 1, belongs: true,
	},
	{
		name: "the master's end", instances: 1, stops: true,
		worker: "build_wait_timeout=600",
	},
	{
		name: "the master's end in mid-build", instances: 2, builds: 2, stops: true, busy: true, after: "abandoning build",
		worker: "build_wait_timeout=600", pause: "sleep 0.2",
	},
	{
		name: "a write that fails in mid-build", instances: 2, builds: 2, fails: "appending to log", after: "appending to log",
		pause: "sleep 0.05",
	},
}

// inBuild reports whether it is about what happens while a build runs.
func (l life) inBuild() bool { return l.busy || l.fails != "" }

// mostBuilds is how many builds it has where nobody is killed.
func (l life) mostBuilds() int { return max(l.builds, 1) }

// printed is what its build prints, a line for each number.
const printed = "1 2 3 4 5 6"

// configuration is the life's master.star: with an endpoint, a port that all its
// masters await workers at, and what belongs to the worker.
func (l life) configuration(endpoint string, port int, has belongings) string {
	command := "echo $i"
	if l.pause != "" {
		command += "; " + l.pause
	}
	var options strings.Builder
	if l.belongs {
		fmt.Fprintf(&options, ", elastic_ip=%q, volumes=[(%q, '/dev/sdh')]", has.address, has.volume)
	}
	if l.worker != "" {
		options.WriteString(", " + l.worker)
	}
	return fmt.Sprintf(`
from buildbot.plugins import schedulers, steps, util, worker
import boto3
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:%d:interface=127.0.0.1'}}
c['www'] = {'port': 'tcp:0:interface=127.0.0.1'}
# Of a machine that learns which worker it is when it attaches.
ANONYMOUS = util.Interpolate('''DORMOUSE_MASTER=%%(worker:master)s
DORMOUSE_WORKER_PASSWORD=%%(worker:secret)s
''')
USER_DATA = util.Interpolate('''DORMOUSE_MASTER=%%(worker:master)s
DORMOUSE_WORKER_PASSWORD=%%(worker:secret)s
DORMOUSE_WORKER_NAME=%%(worker:name)s
''')
session = boto3.session.Session(aws_access_key_id=%q, aws_secret_access_key=%q, region_name=%q, endpoint_url=%q)
def ec2(name, user_data=USER_DATA, build_wait_timeout=0, missing_timeout=60, **kw):
    return worker.EC2LatentWorker(name, %q, 't3.small', ami=%q, session=session, user_data=user_data,
        build_wait_timeout=build_wait_timeout, missing_timeout=missing_timeout, check_instance_interval=1, **kw)
c['workers'] = [ec2('bot'%s)]
c['builders'] = [util.BuilderConfig(name='b', workernames=['bot'], collapseRequests=False, factory=util.BuildFactory([
    steps.ShellCommand(name='shell', command='for i in %s; do %s; done', logEnviron=False)]))]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b'])]
`, port, ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, region, endpoint,
		password, ec2sim.WorkerImageID, options.String(), printed, command)
}
