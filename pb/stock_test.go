package pb_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/pb"
)

const (
	stockProgram = "/usr/bin/buildbot-worker"
	// patience bounds waits for what comes as soon as the machine gets to it.
	patience = 5 * time.Minute
)

// startStock runs Debian's worker, as create-worker makes it, until the test ends.
func startStock(t *testing.T, addr, name, password string) (base string, gone <-chan struct{}) {
	t.Helper()
	if _, err := os.Stat(stockProgram); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: apt-get install buildbot-worker", stockProgram)
		}
		t.Skipf("%s is missing: apt-get install buildbot-worker", stockProgram)
	}
	base = filepath.Join(t.TempDir(), "worker")
	env := []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + t.TempDir(), "PYTHONDONTWRITEBYTECODE=1"}
	// It ends by itself should this process end before it can stop it.
	create := exec.Command("/usr/bin/python3", stockProgram, "create-worker", "--maxretries=5", base, addr, name, password)
	create.Env = env
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create-worker: %v\n%s", err, out)
	}
	run := exec.Command("/usr/bin/python3", stockProgram, "start", "--nodaemon", base)
	run.Env = env
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = run.Wait() // its log says why
	}()
	t.Cleanup(func() {
		_ = run.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { _ = run.Process.Kill() })
		defer timer.Stop()
		<-ended
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(base, "twistd.log"))
			t.Logf("twistd.log:\n%s", log[max(0, len(log)-8000):])
		}
	})
	return base, ended
}

// accept waits for a worker that logs in.
func accept(t *testing.T, listener net.Listener) *pb.Login {
	t.Helper()
	nc, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l, err := pb.Accept(t.Context(), nc)
	if err != nil {
		t.Fatal(err)
	}
	if l.Name != "bot1" {
		t.Errorf("%q has logged in", l.Name)
	}
	return l
}

// TestStockWorker: Debian's worker, as it comes, survives a refusal, logs in, and
// runs a command to its end.
func TestStockWorker(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	base, gone := startStock(t, listener.Addr().String(), "bot1", "pässword")
	l := accept(t, listener)
	if l.Match([]pb.Digest{pb.DigestOf("another"), pb.DigestOf("password")}) != -1 {
		t.Error("a wrong password is right")
	}
	l.Refuse("not now")
	l = accept(t, listener)
	if l.Match([]pb.Digest{pb.DigestOf("another"), pb.DigestOf("pässword")}) != 1 {
		t.Error("the right password is wrong")
	}
	c := l.Admit(`worker "bot1"`)
	defer c.Wait()
	defer c.Close(errors.New("the test has ended"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	call := func(o *pb.Remote, method string, args ...any) any {
		t.Helper()
		v, err := o.Call(ctx, method, args...)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}

	call(l.Mind, "print", "attached to a tést")
	info, _ := call(l.Mind, "getWorkerInfo").(pb.Dict)
	version, _ := info.Get("version")
	system, _ := info.Get("system")
	dir, _ := info.Get("basedir")
	if version != call(l.Mind, "getVersion") || system != "posix" || dir != base {
		t.Errorf("the worker is %v", info)
	}
	commands, _ := call(l.Mind, "getCommands").(pb.Dict)
	if v, _ := commands.Get("shell"); v == nil {
		t.Errorf("its commands are %v", commands)
	}
	if _, err := l.Mind.Call(ctx, "getSlaveInfo"); !errors.Is(err, pb.NoSuchMethod) {
		t.Errorf("a method of slaves: %v", err)
	}
	builders := call(l.Mind, "setBuilderList", []any{pb.Tuple{"runtests", "runtests"}}).(pb.Dict)
	v, _ := builders.Get("runtests")
	builder := v.(*pb.Remote)
	again := call(l.Mind, "setBuilderList", []any{pb.Tuple{"runtests", "runtests"}}).(pb.Dict)
	if v, _ := again.Get("runtests"); v != builder {
		t.Errorf("the builder is another one: %v", v)
	}
	builder.Release()
	l.Welcome(avatar{})

	if _, err := builder.Call(ctx, "startCommand", c.Export(&command{}), "1", "nonsense", pb.Dict{}); !errors.Is(err, pb.Class("buildbot_worker.base.UnknownCommand")) {
		t.Errorf("a command that there is not: %v", err)
	}
	cmd := &command{ended: make(chan any, 1)}
	local := c.Export(cmd)
	call(builder, "startCommand", local, "2", "shell", map[string]any{
		"command": "echo hé; echo; seq 30000; echo oops >&2; exit 3",
		"workdir": "build", "logEnviron": false, "usePTY": false, "timeout": 600, "maxTime": nil, "env": map[string]string{"A": "b"},
	})
	select {
	case v := <-cmd.ended:
		if v != nil {
			t.Errorf("complete: %v", v)
		}
	case <-ctx.Done():
		t.Fatal("the command does not end")
	}
	local.Withdraw()
	var want strings.Builder
	fmt.Fprint(&want, "hé\n\n")
	for n := range 30_000 {
		fmt.Fprintln(&want, n+1)
	}
	if text := cmd.text["stdout"].String(); text != want.String() || cmd.text["stderr"].String() != "oops\n" || cmd.rc != int64(3) {
		t.Errorf("stdout %.100q of %d bytes, stderr %q, rc %v", text, len(text), cmd.text["stderr"].String(), cmd.rc)
	}
	if _, err := os.Stat(filepath.Join(base, "runtests", "build")); err != nil {
		t.Error(err)
	}

	call(l.Mind, "shutdown")
	for _, end := range []<-chan struct{}{c.Done(), gone} {
		select {
		case <-end:
		case <-ctx.Done():
			t.Fatal("the worker does not shut down")
		}
	}
	if c.Held() {
		t.Error("calls are left")
	}
}

// avatar is what the worker has of the master.
type avatar struct{}

func (avatar) Serve(c *pb.Call) { c.Answer(nil) }

// command keeps what a command says.
type command struct {
	text  map[string]*strings.Builder
	rc    any
	ended chan any
}

// Serve takes update and complete. It is called by one goroutine.
func (o *command) Serve(c *pb.Call) {
	switch c.Method {
	case "update":
		updates, _ := pb.Items(c.Args[0])
		for _, u := range updates {
			pair, _ := pb.Items(u)
			for _, e := range pair[0].(pb.Dict) {
				o.update(fmt.Sprint(e.Key), e.Value)
			}
		}
		c.Answer(0)
	case "complete":
		c.Answer(nil)
		o.ended <- c.Args[0]
	default:
		c.NoSuchMethod()
	}
}

func (o *command) update(key string, v any) {
	if text, ok := pb.Text(v); ok {
		if o.text == nil {
			o.text = map[string]*strings.Builder{"stdout": {}, "stderr": {}, "header": {}}
		}
		o.text[key].WriteString(text)
	}
	if key == "rc" {
		o.rc = v
	}
}
