package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/webtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dormouse": main})
}

// TestScripts runs testdata/*.txtar. Each has a master of its own, in memory,
// at $MASTER_URL with the token $MASTER_TOKEN: what is forced on it is built at
// once, and ends with the result that the property "result" names.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata",
		Cmds: scriptCommands,
		Setup: func(env *testscript.Env) error {
			m := webtest.New(time.Now())
			m.Forced = func(made []dormouse.BuildRequest) {
				for _, r := range made {
					build(m, r)
				}
			}
			m.SetInstance(dormouse.Instance{
				ID: "i-0abc", InstanceType: "m7i.large", Zone: "us-east-1a", Market: dormouse.Spot, State: dormouse.InstanceRunning,
				Worker: "w1", LaunchedAt: time.Now().Add(-3*time.Minute - time.Second), PricePerHour: new(0.0312),
			})
			m.SetWorker(dormouse.WorkerStatus{
				Name: "w2", Latent: true, Phase: "not substantiated", Reason: "no such AMI: ami-123; correct ami in master.star",
				QuarantinedUntil: time.Now().Add(time.Hour), Paused: true,
			})
			m.SetLeftovers(dormouse.LeftoverReport{Leftovers: []dormouse.Leftover{
				{Kind: dormouse.LeftoverInstance, ID: "i-0lost", Worker: "w9", Region: "us-east-1", Since: time.Now().Add(-2 * time.Hour), Action: dormouse.ReapTerminate, Why: "it is running, and belongs to no live generation"},
				{Kind: dormouse.LeftoverVolume, ID: "vol-0lost", Region: "us-east-1", Since: time.Now().Add(-2 * time.Hour), Action: dormouse.ReapKeep, Why: "nothing has it"},
			}})
			url, stop, err := serveTest(m)
			if err != nil {
				return err
			}
			env.Defer(stop)
			env.Setenv("MASTER_URL", url)
			env.Setenv("MASTER_TOKEN", scriptToken)
			env.Setenv("HOME", env.WorkDir+"/home")
			env.Setenv("XDG_CONFIG_HOME", "")
			env.Setenv("DORMOUSE_URL", url)
			env.Setenv("NOBODY_URL", nobody)
			env.Setenv("YESTERDAY", time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly))
			scenarios, err := filepath.Abs(scenarioDir)
			if err != nil {
				return err
			}
			env.Setenv("SCENARIOS", scenarios)
			return nil
		},
	})
}

const (
	scriptToken = "token-of-the-script"
	// nobody is an address that nothing listens at: the discard port, which is
	// below those that are given out.
	nobody = "http://127.0.0.1:9"
)

func serveTest(m *webtest.Master) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	h := web.NewHandler(web.Options{Service: m, Token: scriptToken})
	srv := web.NewServer(h)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); err != http.ErrServerClosed {
			panic(err)
		}
	}()
	return "http://" + l.Addr().String(), func() {
		_ = srv.Shutdown(context.Background())
		<-done
		h.Close()
	}, nil
}

// build is a whole build of a request; the reason "wait" leaves it waiting.
func build(m *webtest.Master, r dormouse.BuildRequest) {
	if r.Reason == "wait" {
		m.Wait(r.ID, "the instance of w1 is starting")
		return
	}
	result := dormouse.Success
	if p, ok := r.Properties["result"]; ok {
		if err := result.UnmarshalText([]byte(p.Value.(string))); err != nil {
			panic(err)
		}
	}
	b := m.Start(r.ID, "w1", "i-0abc")
	checkout, log := m.Step(b.ID, "checkout")
	m.Append(log.ID, dormouse.LogLine{Stream: dormouse.Header, Time: time.Now(), Text: "git clone"})
	m.FinishStep(checkout.ID, dormouse.Success)
	compile, log := m.Step(b.ID, "compile")
	m.Print(log.ID, "cc -c a.c", "\x1b[31mred\x1b[0m \x1b]0;title\a")
	m.Keep(b.ID, "packages/app.deb", "a package\n")
	m.FinishStep(compile.ID, result)
	m.Finish(b.ID, result)
}

// Every flag of every command has an environment twin that its help names, and
// one name means one type of flag.
func TestEveryFlagHasAnEnvironmentTwin(t *testing.T) {
	root := newRootCommand()
	types := map[string]string{}
	flags := 0
	walk(root, func(cmd *cobra.Command) {
		if cmd.Name() == "help" {
			return
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !hasEnvTwin(f) {
				return
			}
			flags++
			name := envName(f)
			if !strings.HasPrefix(name, "DORMOUSE_") {
				t.Errorf("%s --%s: the twin is %s", cmd.CommandPath(), f.Name, name)
			}
			if strings.Count(f.Usage, "[$"+name+"]") != 1 {
				t.Errorf("%s --%s: the help does not name the twin %s: %s", cmd.CommandPath(), f.Name, name, f.Usage)
			}
			if other, ok := types[name]; ok && other != f.Value.Type() {
				t.Errorf("%s --%s: the twin %s is a %s elsewhere, and a %s here", cmd.CommandPath(), f.Name, name, other, f.Value.Type())
			}
			types[name] = f.Value.Type()
		})
	})
	if flags < 20 {
		t.Errorf("only %d flags were seen", flags)
	}
}

// Every command says what it is, and stands in a group.
func TestEveryCommandIsDescribed(t *testing.T) {
	root := newRootCommand()
	for _, cmd := range root.Commands() {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the short text is %q", cmd.CommandPath(), cmd.Short)
		}
		if cmd.Runnable() && cmd.GroupID == "" {
			t.Errorf("%s stands in no group", cmd.CommandPath())
		}
	}
}

// scriptCommands are what the scripts need beyond testscript's own.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"demo-summary":     checkDemoSummary,
	"scenario-summary": checkScenarioSummary,
	// status CODE COMMAND…: the command ends with that exit code.
	"status": func(ts *testscript.TestScript, _ bool, args []string) {
		err := ts.Exec(args[1], args[2:]...)
		var exit *exec.ExitError
		code := 0
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			ts.Fatalf("%v", err)
		}
		if fmt.Sprint(code) != args[0] {
			ts.Fatalf("the exit code is %d, want %s", code, args[0])
		}
	},
	// mode BITS FILE: the file's permissions.
	"mode": func(ts *testscript.TestScript, _ bool, args []string) {
		info, err := os.Stat(ts.MkAbs(args[1]))
		ts.Check(err)
		if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("the mode is %s, want %s", got, args[0])
		}
	},
	// propertylines gives DORMOUSE_PROPERTY two lines.
	"propertylines": func(ts *testscript.TestScript, _ bool, _ []string) {
		ts.Setenv("DORMOUSE_PROPERTY", "a=1\nb:=[2, 3]\n")
	},
	// tokenlist FILE: the user's list names the file for the script's master.
	"tokenlist": func(ts *testscript.TestScript, _ bool, args []string) {
		list := fmt.Sprintf("{%q: %q}\n", ts.Getenv("MASTER_URL"), ts.MkAbs(args[0]))
		ts.Check(os.WriteFile(ts.Getenv("HOME")+"/.config/dormouse/tokens.json", []byte(list), 0o600))
	},
	// for-results RESULT…: force --wait fails with each of them.
	"for-results": func(ts *testscript.TestScript, _ bool, args []string) {
		for _, r := range args {
			err := ts.Exec("dormouse", "force", "linux", "--wait", "--property", "result="+r)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
				ts.Fatalf("with %s it ends with %v", r, err)
			}
		}
	},
}
