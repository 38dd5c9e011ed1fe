package main

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/web/client"
)

// plainMaster writes a configuration without instances, with these builders.
func plainMaster(t *testing.T, dir string, builders ...string) {
	t.Helper()
	var text strings.Builder
	text.WriteString(`
from buildbot.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:0:interface=127.0.0.1'}}
c['www'] = {'port': 'tcp:0:interface=127.0.0.1'}
c['workers'] = [worker.Worker('plain', 'password')]
c['builders'] = []
c['schedulers'] = []
`)
	for _, b := range builders {
		text.WriteString("c['builders'].append(util.BuilderConfig(name='" + b + "', workernames=['plain'], factory=util.BuildFactory([steps.ShellCommand(command='true')])))\n")
	}
	for name, text := range map[string]string{"master.star": text.String(), "token": "token-of-the-test\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLoadingWarns: a master says of its configuration, each time that it reads it,
// which workers the budget never admits, and begins all the same.
func TestLoadingWarns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := `
from buildbot.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:0:interface=127.0.0.1'}}
c['budget'] = {'per_hour': 0.05}
c['workers'] = [worker.EC2LatentWorker('dear', 'EGOUYEFRXV6QD2DZNCHTIGB7EM', 'm5.large', ami='ami-1', region='us-west-2',
    identifier='AKIAEXAMPLE', secret_identifier='secret', price_per_hour=0.1)]
c['builders'] = [util.BuilderConfig(name='b', workernames=['dear'], factory=util.BuildFactory([steps.ShellCommand(command='true')]))]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b'])]
`
	if err := os.WriteFile(filepath.Join(dir, "master.star"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	c, err := loadMaster(t.Context(), dir, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil || len(c.Workers) != 1 {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "worker dear will never be started: an instance at $0.1000 per hour is more than the whole budget") {
		t.Errorf("said %s", said.String())
	}
}

// TestHangup: SIGHUP has a master read its configuration again. One with a mistake
// is said, and changes nothing; the master goes on in any case.
func TestHangup(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	plainMaster(t, dir, "one")
	p := startProcess(t, log, "master", dir, "--json")
	c, err := client.New(p.said["url"].(string), "token-of-the-test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names := func() string {
		builders, err := c.Builders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, b := range builders {
			out = append(out, b.Name)
		}
		return strings.Join(out, " ")
	}
	hangUp := func(said string) {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		limit := time.After(30 * time.Second)
		again := time.NewTicker(10 * time.Millisecond)
		defer again.Stop()
		for {
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), said) {
				return
			}
			select {
			case <-again.C:
			case <-limit:
				t.Fatalf("the master does not say %q:\n%s", said, text)
			}
		}
	}
	plainMaster(t, dir, "one", "two")
	hangUp(`msg="the configuration was read again" builders=2 workers=1`)
	if got := names(); got != "one two" {
		t.Errorf("builders: %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "master.star"), []byte("c = BuildmasterConfig = {}\nc['wokers'] = []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp("the configuration was not taken up")
	if got := names(); got != "one two" {
		t.Errorf("builders: %s", got)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the master ended: %v", err)
	}
}

// TestStopDuringHangup: a master that reads a configuration which takes long is
// told to stop, and does.
func TestStopDuringHangup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	plainMaster(t, dir, "one")
	p := startProcess(t, log, "master", dir, "--json")
	endless := "def f():\n    for i in range(1000000):\n        for j in range(1000000):\n            pass\nf()\n"
	if err := os.WriteFile(filepath.Join(dir, "master.star"), []byte("c = BuildmasterConfig = {}\n"+endless), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.cmd.Process.Signal(syscall.SIGHUP), p.cmd.Process.Signal(syscall.SIGTERM)); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the master ended: %v", err)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "more than 20000000 steps") || strings.Contains(string(text), "longer than") {
		t.Errorf("the master read to the end before it stopped:\n%s", text)
	}
}

// A master whose configuration has a mistake exits with another code than 0.
func TestBuildbotDefect16WrongConfigurationExits0(t *testing.T) {
	dir := t.TempDir()
	plainMaster(t, dir, "one")
	path := filepath.Join(dir, "master.star")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for mistake, said := range map[string]string{
		"c['builders'] = 7\n": "master.star",
		"c['workers'] = [worker.EC2LatentWorker('bot', 'password', 'm5.large', ami='ami-1', security_name='a', subnet_id='subnet-1')]\n": "security_name",
		"c['workers' = []\n": "master.star:",
	} {
		if err := os.WriteFile(path, append(text, mistake...), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(buildDormouse(t), "master", dir).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(string(out), said) {
			t.Errorf("%s: %v\n%s", mistake, err, out)
		}
	}
}
