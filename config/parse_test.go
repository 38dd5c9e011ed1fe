package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

// minimal is a configuration that loads without a warning, with more behind it.
func minimal(more string) []byte {
	return []byte(`from buildbot.plugins import worker, util, steps, schedulers
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:9989:interface=127.0.0.1'}}
c['workers'] = [worker.Worker('w', 'pw')]
c['builders'] = [util.BuilderConfig(name='b', workernames=['w'], factory=util.BuildFactory([steps.Test()]))]
c['schedulers'] = [schedulers.ForceScheduler('f', ['b'])]
` + more)
}

func parse(t *testing.T, src []byte) *Master {
	t.Helper()
	m, err := Parse("m.star", src, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMinimal(t *testing.T) {
	if m := parse(t, minimal("")); len(m.Warnings) > 0 {
		t.Errorf("warnings: %v", m.Warnings)
	}
}

func TestListen(t *testing.T) {
	for value, want := range map[string][2]string{
		"8010":                              {"127.0.0.1:8010", "0.0.0.0:8010"},
		"0":                                 {"127.0.0.1:0", "0.0.0.0:0"},
		"'8010'":                            {"127.0.0.1:8010", "0.0.0.0:8010"},
		"'tcp:8010'":                        {"127.0.0.1:8010", "0.0.0.0:8010"},
		"'TCP:8010:interface=10.0.0.1'":     {"10.0.0.1:8010", "10.0.0.1:8010"},
		"'tcp:port=8010:interface=0.0.0.0'": {"0.0.0.0:8010", "0.0.0.0:8010"},
		"'tcp:8010:interface=localhost'":    {"localhost:8010", "localhost:8010"},
		"'tcp6:8010:interface=\\\\:\\\\:1'": {"[::1]:8010", "[::1]:8010"},
		"'tcp:8010:interface=127.0.0.1:backlog=5'": {"127.0.0.1:8010", "127.0.0.1:8010"},
		"-1": {}, "65536": {}, "'x'": {}, "''": {}, "'tcp:'": {}, "'tcp:8010:5'": {}, "'tcp:8010:interface='": {},
		"'unix:/run/x'": {}, "'ssl:443'": {}, "8010.0": {}, "True": {}, "[]": {}, "10**100": {}, "1 << 100": {},
	} {
		www, errWWW := Parse("m.star", minimal("c['www'] = {'port': "+value+"}"), testOptions())
		workers, errWorkers := Parse("m.star", minimal("c['protocols'] = {'msgpack_experimental_v7': {'port': "+value+"}}"), testOptions())
		if want[0] == "" {
			if errWWW == nil || errWorkers == nil {
				t.Errorf("%s is allowed", value)
			}
			continue
		}
		if errWWW != nil || errWorkers != nil {
			t.Errorf("%s: %v, %v", value, errWWW, errWorkers)
			continue
		}
		if got := [2]string{www.WWW.Listen, workers.Protocols.MsgpackListen}; got != want {
			t.Errorf("%s: listens on %v, want %v", value, got, want)
		}
	}
}

func TestDB(t *testing.T) {
	for value, want := range map[string]DB{
		"c['db'] = {'db_url': 'sqlite:///state.sqlite'}":       {"sqlite", "sqlite:///state.sqlite", "base/state.sqlite"},
		"c['db'] = {'url': 'sqlite:////var/lib/d.sqlite?x=1'}": {"sqlite", "sqlite:////var/lib/d.sqlite?x=1", "/var/lib/d.sqlite"},
		"c['db_url'] = 'sqlite:///s'":                          {"sqlite", "sqlite:///s", "base/s"},
		"c['db'] = {'db_url': 'postgres://u:p@h/d'}":           {"postgresql", "postgresql://u:p@h/d", ""},
		"c['db'] = None":          {"sqlite", "sqlite:///dormouse.sqlite", "base/dormouse.sqlite"},
		"c['db'] = 'sqlite:///x'": {}, "c['db_url'] = 5": {}, "c['db_url'] = 'sqlite://'": {},
		"c['db_url'] = 'sqlite:///:memory:'": {}, "c['db_url'] = 'postgresql://h'": {}, "c['db_url'] = 'x'": {},
	} {
		m, err := Parse("m.star", minimal(value), testOptions())
		switch {
		case want == DB{}:
			if err == nil {
				t.Errorf("%s is allowed", value)
			}
		case err != nil:
			t.Errorf("%s: %v", value, err)
		case m.DB != want:
			t.Errorf("%s: %+v, want %+v", value, m.DB, want)
		}
	}
}

func TestSecrets(t *testing.T) {
	s := Secrets{Dir: filepath.Join("testdata", "secrets"), Env: func(name string) (string, bool) {
		return "in-env", name == "DORMOUSE_SECRET_A_B_C"
	}}
	for name, want := range map[string]string{"linux-password": "from-a-file", "a-b.c": "in-env", "empty": ""} {
		if got, err := s.Lookup(name); err != nil || got != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	for name, code := range map[string]dormouse.Code{
		"none": dormouse.NotFound, "../secrets/linux-password": dormouse.Invalid, "": dormouse.Invalid, ".": dormouse.Invalid,
	} {
		if got, err := s.Lookup(name); dormouse.CodeOf(err) != code {
			t.Errorf("%q is %q, %v; want code %s", name, got, err, code)
		}
	}
	large := t.TempDir()
	if err := os.WriteFile(filepath.Join(large, "x"), bytes.Repeat([]byte("s"), 64<<10+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Secrets{Dir: large}).Lookup("x"); dormouse.CodeOf(err) != dormouse.Unavailable || strings.Contains(err.Error(), "sss") {
		t.Errorf("a large secret: %v", err)
	}
}

func TestAWSIDFile(t *testing.T) {
	dir := t.TempDir()
	opts := testOptions()
	opts.BaseDir = dir
	src := minimal("c['workers'].append(worker.EC2LatentWorker('e', 'pw', 'm1.large', 'ami-1', aws_id_file_path='id'))")
	for text, want := range map[string]string{"AKIA\nsecret\n": "", "AKIA\r\nsecret\r\n": "", "AKIA": "two lines", "\nx": "two lines"} {
		if err := os.WriteFile(filepath.Join(dir, "id"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Parse("m.star", src, opts)
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "m.star:7:76: ") {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Workers[1].EC2.Session; got != (Session{Identifier: "AKIA", SecretIdentifier: "secret"}) {
			t.Errorf("%q: %+v", text, got)
		}
		if len(m.Warnings) == 0 || !strings.Contains(m.Warnings[0].Message+m.Warnings[len(m.Warnings)-1].Message, "deprecated") {
			t.Errorf("%q: warnings %v", text, m.Warnings)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "master.star")
	if _, err := Load(file, Options{}); dormouse.CodeOf(err) != dormouse.NotFound {
		t.Errorf("a missing file: %v", err)
	}
	if err := os.WriteFile(file, minimal("print(basedir, __file__)"), 0o600); err != nil {
		t.Fatal(err)
	}
	var printed []string
	m, err := Load(file, Options{Print: func(s string) { printed = append(printed, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "dormouse.sqlite"); m.DB.Path != want {
		t.Errorf("state is in %s, want %s", m.DB.Path, want)
	}
	if want := dir + " " + file; len(printed) != 1 || printed[0] != want {
		t.Errorf("printed %q, want %q", printed, want)
	}
	if _, err := Parse("m.star", make([]byte, maxSource+1), Options{}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file: %v", err)
	}
}

func TestManyErrors(t *testing.T) {
	_, err := Parse("m.star", []byte("from buildbot.plugins import worker\nc = BuildmasterConfig = {'workers': [worker.Worker(str(i), 'pw') for i in range(1000)]}\n"), testOptions())
	errs, _ := errors.AsType[Errors](err)
	if len(errs) != maxErrors+1 || errs[maxErrors].Message != fmt.Sprintf("… and %d more mistakes", 1000-maxErrors) {
		t.Errorf("%d errors, the last %v", len(errs), errs[len(errs)-1])
	}
}

func TestCyclicValue(t *testing.T) {
	_, err := Parse("m.star", minimal("x = []\nx.append(x)\nc['properties'] = {'x': x}"), testOptions())
	if err == nil || !strings.Contains(err.Error(), "nested more than") {
		t.Errorf("error is %v", err)
	}
}

func TestSample(t *testing.T) {
	for _, o := range []SampleOptions{
		{},
		{
			Password: "it's a \"secret\"\\", AMI: "ami-9", RepoURL: "file:///x", Command: "go vet ./...",
			EndpointURL: "http://127.0.0.1:4566/", AccessKeyID: "id", SecretAccessKey: "key",
		},
	} {
		text := Sample(o)
		m := parse(t, []byte(text))
		// What it cannot have made: a certificate.
		warnings := slices.DeleteFunc(m.Warnings, func(w Error) bool { return o.EndpointURL == "" && strings.Contains(w.Message, "has no TLS") })
		if len(warnings) > 0 || strings.Contains(text, "@argument") || strings.Contains(text, "@session") {
			t.Errorf("warnings: %v\n%s", warnings, text)
		}
		w := m.Workers[0]
		if o.Password != "" && w.Password != o.Password {
			t.Errorf("password is %q", w.Password)
		}
		if w.EC2.Session.EndpointURL != o.EndpointURL || w.EC2.Session.Identifier != o.AccessKeyID || w.EC2.Session.SecretIdentifier != o.SecretAccessKey {
			t.Errorf("session is %+v", w.EC2.Session)
		}
		if local := m.Protocols.MsgpackListen == "127.0.0.1:9989"; local != (o.EndpointURL != "") || m.WWW.Listen != "127.0.0.1:8010" {
			t.Errorf("listens on %s and %s", m.Protocols.MsgpackListen, m.WWW.Listen)
		}
		data, err := expr.Render(w.EC2.UserData, expr.Scope{Worker: map[string]string{"master": "ws://h:1/", "name": "linux", "secret": "s"}})
		if want := "DORMOUSE_MASTER=ws://h:1/\nDORMOUSE_WORKER_NAME=linux\nDORMOUSE_WORKER_PASSWORD=s"; err != nil || data != want {
			t.Errorf("user data is %q, %v", data, err)
		}
	}
}

// FuzzParse checks that no text makes reading panic, take for ever, or give a
// mistake a place that is not in the text.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"good", "bad", "page"} {
		for name, src := range sources(f, dir) {
			if !strings.Contains(name, "endless") {
				f.Add(src)
			}
		}
	}
	f.Add([]byte(Sample(SampleOptions{})))
	f.Fuzz(func(t *testing.T, src []byte) {
		start := time.Now()
		m, err := Parse("m.star", src, testOptions())
		if d := time.Since(start); d > 2*dialect.MaxTime {
			t.Errorf("it took %s", d)
		}
		if err == nil {
			if m == nil {
				t.Error("neither a configuration nor an error")
			}
			return
		}
		errs, ok := errors.AsType[Errors](err)
		if !ok || len(errs) == 0 {
			t.Fatalf("error is %v", err)
		}
		lines := bytes.Count(src, []byte("\n")) + bytes.Count(src, []byte("\r")) + 1
		for _, e := range errs {
			if e.Message == "" || e.File != "m.star" || e.Line < 0 || e.Line > lines+1 || e.Column < 0 || e.Column > len(src)+2 {
				t.Errorf("error is %+v", e)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var src bytes.Buffer
	src.WriteString("from buildbot.plugins import *\nc = BuildmasterConfig = {}\nc['workers'] = [\n")
	for i := range 1000 {
		fmt.Fprintf(&src, "    worker.EC2LatentWorker('bot%d', 'sekrit', 'm1.large',\n        ami='ami-12345',\n        keypair_name='k', security_name='s', tags={'n': '%d'}),\n", i, i)
	}
	src.WriteString("]\n")
	b.SetBytes(int64(src.Len()))
	for b.Loop() {
		if _, err := Parse("m.star", src.Bytes(), testOptions()); err != nil {
			b.Fatal(err)
		}
	}
}

// TestFactsAsProperties: what a builder cannot give its builds is said.
func TestFactsAsProperties(t *testing.T) {
	src := strings.Replace(string(withSteps("", "steps.ShellCommand(command='x')")), "factory=", "properties={'a': 1, 'branch': 'x'}, defaultProperties={'workername': 'y'}, factory=", 1)
	m := read(t, []byte(src))
	if len(m.Warnings) != 2 || m.Warnings[0].Message != "the property branch has no effect: it says what a build is of and where it runs" || m.Warnings[0].Column != 81 {
		t.Errorf("%+v", m.Warnings)
	}
}
