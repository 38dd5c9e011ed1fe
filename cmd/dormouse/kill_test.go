package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

// process is a dormouse command that serves, and says where as JSON.
type process struct {
	cmd  *exec.Cmd
	said map[string]any
}

func startProcess(t *testing.T, log string, args ...string) *process {
	t.Helper()
	return startCommand(t, log, exec.Command(buildDormouse(t), args...))
}

// startCommand starts a command that prints a line of JSON once it serves.
func startCommand(t *testing.T, log string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd}
	stderr, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	p.cmd.Stderr = stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		err = json.Unmarshal([]byte(line), &p.said)
	}
	if err != nil {
		text, _ := os.ReadFile(log)
		t.Fatalf("%v: %v\n%s", cmd.Args, err, text)
	}
	return p
}

// TestKilledMaster kills a master with SIGKILL at moment after moment of the
// lives of builds and instances. Each time the store opens again and tells the
// truth: no accepted request is lost, each ends once, builds are numbered
// without a gap, and no instance is left in the end.
func TestKilledMaster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	endpoint := startProcess(t, filepath.Join(dir, "ec2.log"), "ec2", "--json", "--boot-delay", "200ms", "--dir", filepath.Join(dir, "instances"))
	address := endpoint.said["endpoint"].(string)
	base := filepath.Join(dir, "master")
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	configuration := fmt.Sprintf(`
from buildbot.plugins import schedulers, steps, util, worker
import boto3
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:0:interface=127.0.0.1'}}
c['www'] = {'port': 'tcp:0:interface=127.0.0.1'}
session = boto3.session.Session(aws_access_key_id=%q, aws_secret_access_key=%q, region_name='us-east-1', endpoint_url=%q)
c['workers'] = [worker.EC2LatentWorker('bot', 'password', 't3.small', ami=%q, session=session,
    build_wait_timeout=0, missing_timeout=30, check_instance_interval=1, user_data=util.Interpolate('''DORMOUSE_MASTER=%%(worker:master)s
DORMOUSE_WORKER_NAME=%%(worker:name)s
DORMOUSE_WORKER_PASSWORD=%%(worker:secret)s
DORMOUSE_MAXRETRIES=3
DORMOUSE_MAXDELAY=1
DORMOUSE_POWEROFF_COMMAND=poweroff
'''))]
c['builders'] = [util.BuilderConfig(name='b', workernames=['bot'], collapseRequests=False,
    factory=util.BuildFactory([steps.ShellCommand(name='shell', command='for i in 1 2 3; do echo $i; sleep 0.1; done', logEnviron=False)]))]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b'])]
`, ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, address, ec2sim.WorkerImageID)
	for name, text := range map[string]string{"master.star": configuration, "token": "token-of-the-test\n"} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func() (*process, *client.Client) {
		t.Helper()
		p := startProcess(t, filepath.Join(dir, "master.log"), "master", base, "--json")
		c, err := client.New(p.said["url"].(string), "token-of-the-test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return p, c
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "master.log"))
			t.Logf("the masters logged:\n%s", text)
		}
	})

	// Each moment is an event after which the master is killed at once.
	moments := []dormouse.EventKind{
		dormouse.EventRequestNew, dormouse.EventWorkerChanged, dormouse.EventInstanceChanged, dormouse.EventBuildStarted,
		dormouse.EventStepStarted, dormouse.EventLogAppended, dormouse.EventStepFinished, dormouse.EventBuildFinished,
		dormouse.EventInstanceChanged,
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	var accepted []int64
	for _, moment := range moments {
		p, c := start()
		killed := make(chan error, 1)
		go func() {
			for m, err := range c.Events(ctx, client.EventQuery{Kinds: []string{string(moment)}}) {
				if err != nil {
					killed <- err
					return
				}
				if !m.Reset {
					killed <- p.cmd.Process.Signal(syscall.SIGKILL)
					return
				}
			}
		}()
		made, err := c.Force(ctx, web.ForceRequest{Builder: "b"})
		if err == nil {
			accepted = append(accepted, made[0].ID)
		} // else it was killed before it answered: it may or may not be there
		if err := <-killed; err != nil {
			t.Fatalf("waiting for %s: %v", moment, err)
		}
		p.cmd.Wait()
		c.Close()
	}

	p, c := start()
	done := func() bool {
		all, err := c.Requests(ctx, web.RequestQuery{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if r.Result == nil {
				return false
			}
		}
		return true
	}
	if !done() {
		for m, err := range c.Events(ctx, client.EventQuery{Kinds: []string{"request"}}) {
			if err != nil {
				t.Fatal(err)
			}
			if (m.Reset || m.Event.Request.Result != nil) && done() {
				break
			}
		}
	}
	requests, err := c.Requests(ctx, web.RequestQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	ended := map[int64]dormouse.Result{}
	for _, r := range requests {
		ended[r.ID] = *r.Result
	}
	for _, id := range accepted {
		if r, ok := ended[id]; !ok || r != dormouse.Success {
			t.Errorf("request %d was accepted; it is there %v and ended %v", id, ok, r)
		}
	}
	builds, err := c.Builds(ctx, web.BuildQuery{Builder: "b", Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	successes := map[int64]int{}
	for i, b := range builds {
		if b.Number != len(builds)-i || b.Result == nil {
			t.Errorf("build %d is number %d, result %v", i, b.Number, b.Result)
		}
		if b.Result != nil && *b.Result == dormouse.Success {
			successes[b.RequestID]++
			checkLines(ctx, t, c, b)
		}
	}
	for id, n := range successes {
		if n != 1 {
			t.Errorf("request %d was built %d times", id, n)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the master ended with %v", err)
	}
	res, err := http.Get(address + "/_sim/ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var ledger ec2sim.Ledger
	if err := json.NewDecoder(res.Body).Decode(&ledger); err != nil {
		t.Fatal(err)
	}
	if ledger.Alive() != 0 {
		t.Errorf("%d instances are alive: %+v", ledger.Alive(), ledger.Instances)
	}
	t.Logf("%d kills, %d requests, %d builds, %d instances", len(moments), len(requests), len(builds), ledger.Started)
}

// checkLines checks that a build that succeeded has each line once, in order.
func checkLines(ctx context.Context, t *testing.T, c *client.Client, b dormouse.Build) {
	t.Helper()
	steps, err := c.Steps(ctx, b.ID)
	if err != nil || len(steps) != 1 || len(steps[0].Logs) != 1 {
		t.Errorf("build %d has steps %+v, %v", b.Number, steps, err)
		return
	}
	var said []string
	for line, err := range c.FollowLog(ctx, steps[0].Logs[0].ID, 0) {
		if err != nil {
			t.Error(err)
			return
		}
		if line.Stream == "o" {
			said = append(said, line.Text)
		}
	}
	if strings.Join(said, " ") != "1 2 3" {
		t.Errorf("build %d printed %q", b.Number, said)
	}
}
