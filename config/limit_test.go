package config

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// unhurried has a configuration stopped by the other limits, also on a slow
// machine, for as long as the test runs.
func unhurried(t *testing.T) {
	readingTime = time.Hour
	t.Cleanup(func() { readingTime = dialect.MaxTime })
}

// TestWatchStops checks the limits that steps do not reach: it cancels a
// thread that is past them, and ends when it is told to.
func TestWatchStops(t *testing.T) {
	unhurried(t)
	src := "c = BuildmasterConfig = {}\nl = []\nfor i in range(100000):\n    l.append([0] * 1000000)\n"
	_, err := Parse("m.star", []byte(src), testOptions())
	if err == nil || !strings.HasPrefix(err.Error(), "m.star:4:") || !strings.Contains(err.Error(), "reading the configuration was stopped: it uses more than 256 MiB") {
		t.Errorf("error is %v", err)
	}
}

func TestReadingTakesTooLong(t *testing.T) {
	if readingTime != dialect.MaxTime {
		t.Errorf("reading a configuration may take %s", readingTime)
	}
	readingTime = 50 * time.Millisecond
	t.Cleanup(func() { readingTime = dialect.MaxTime })
	src := "def f():\n    for i in range(1000000):\n        for j in range(1000000):\n            pass\nf()\n"
	_, err := Parse("m.star", []byte(src), testOptions())
	if err == nil || !strings.Contains(err.Error(), "it takes longer than 50ms") {
		t.Errorf("error is %v", err)
	}
}

// Builders that have a factory in common have its steps in common.
func TestManyBuildersOfOneFactory(t *testing.T) {
	unhurried(t)
	src := `from buildbot.plugins import *
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 0}}
c['workers'] = [worker.Worker('w', 'pw')]
f = util.BuildFactory([steps.ShellCommand(command='true') for i in range(1000)])
c['builders'] = [util.BuilderConfig(name='b%d' % i, workernames=['w'], factory=f) for i in range(2000)]
`
	m, err := Parse("m.star", []byte(src), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if first, last := m.Builders[0].Steps, m.Builders[1999].Steps; &first[0] != &last[0] || len(last) != 1000 {
		t.Error("each builder has steps of its own")
	}
}

// A reading ends when it is not wanted any more, while it evaluates and while it
// reads what came out.
func TestReadingIsCancelled(t *testing.T) {
	unhurried(t)
	values := "from buildbot.plugins import *\nc = BuildmasterConfig = {}\nx = ['x'] * 1000\n" +
		"c['workers'] = [worker.Worker('w%d' % i, 'pw', properties={'x': x}) for i in range(5000)]\n"
	for name, src := range map[string]string{
		"steps":  "def f():\n    for i in range(1000000):\n        pass\nprint('here')\nf()\n",
		"values": values + "print('here')\n",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		opts := testOptions()
		opts.Context, opts.Print = ctx, func(string) { cancel() }
		if _, err := Parse("m.star", []byte(src), opts); err == nil || !strings.Contains(err.Error(), "reading the configuration was stopped: it is not wanted any more") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
