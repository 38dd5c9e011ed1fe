package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web/client"
)

const (
	endpointAddress = "127.0.0.1:4566"
	token           = "boot-test"
	// The builders. The first build of the long one goes on for minutes, so that
	// there is time to disturb it; any later one is short, as are the others'.
	shortBuilder, longBuilder, fillBuilder = "short", "long", "fill"
	// The words in a log that say that a step runs.
	startedWord = "it has started"
)

// configuration is the master's. The worker's password is never used: machines have
// their launch's secret.
func configuration() string {
	return fmt.Sprintf(`
from buildbot.plugins import schedulers, steps, util, worker
import boto3
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:9989:interface=%s'}}
c['www'] = {'port': 'tcp:8010:interface=127.0.0.1'}
session = boto3.session.Session(aws_access_key_id=%q, aws_secret_access_key=%q, region_name='us-east-1', endpoint_url='http://%s')
c['workers'] = [worker.EC2LatentWorker('real', 'unused-password', 't3.small', ami=%q, session=session, bootstrap='cloud-init',
    build_wait_timeout=2, check_instance_interval=1)]
short = steps.ShellCommand(logEnviron=False, command='''
echo environment; env; echo end
echo "user $(id -u)"
cloud-init query -f 'cloud-init {{v1.cloud_name}} {{v1.region}} {{v1.instance_id}} {{ds.meta_data.mac}}'
''')
long = steps.ShellCommand(logEnviron=False, command=util.Interpolate('''
echo %s
[ %%(prop:buildnumber)s -gt 1 ] || sleep 600
'''))
fill = steps.ShellCommand(logEnviron=False, command='echo %s; dd if=/dev/zero of=filling bs=1M')
c['builders'] = [
    util.BuilderConfig(name=%q, workernames=['real'], factory=util.BuildFactory([short])),
    util.BuilderConfig(name=%q, workernames=['real'], factory=util.BuildFactory([long])),
    util.BuilderConfig(name=%q, workernames=['real'], factory=util.BuildFactory([fill])),
]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=[%q, %q, %q])]
`, masterIP, ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, endpointAddress, ec2sim.ScriptImageID,
		startedWord, startedWord, shortBuilder, longBuilder, fillBuilder, shortBuilder, longBuilder, fillBuilder)
}

// buildMaster is a running `dormouse master`.
type buildMaster struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	client *client.Client
}

// masterTime is how long a master may take to serve, or to stop.
const masterTime = 30 * time.Second

// startMaster starts a master in a directory, which it writes the configuration of.
func startMaster(program, dir string, timeScale float64) (*buildMaster, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"master.star": configuration(), "token": token + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(filepath.Join(dir, "..", "master.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	m := &buildMaster{cmd: exec.Command(program, "master", dir, "--json", "--time-scale", fmt.Sprint(timeScale)), ended: make(chan struct{})}
	m.cmd.Stderr = log
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	line := make(chan string, 1)
	go func() {
		defer close(m.ended)
		text, _ := bufio.NewReader(stdout).ReadString('\n')
		line <- text
		_ = m.cmd.Wait() // a master that is killed is no error
	}()
	var said struct{ URL string }
	select {
	case text := <-line:
		err = json.NewDecoder(strings.NewReader(text)).Decode(&said)
	case <-time.After(masterTime):
		err = fmt.Errorf("it does not serve within %v", masterTime)
	}
	if err == nil {
		m.client, err = client.New(said.URL, token)
	}
	if err != nil {
		m.kill()
		return nil, fmt.Errorf("start the master (see master.log): %w", err)
	}
	return m, nil
}

// kill ends the master as the kernel would.
func (m *buildMaster) kill() {
	_ = m.cmd.Process.Kill() // it may have ended
	<-m.ended
}

// stop tells the master to end, and all instances with it.
func (m *buildMaster) stop() error {
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.ended:
		return nil
	case <-time.After(masterTime + stopTime):
		m.kill()
		return fmt.Errorf("the master did not stop")
	}
}
