package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// checkDemoSummary is the script command "demo-summary FILE RESULT BUILDS
// INSTANCES": so many builds, each with the result and an instance of its own,
// and none alive.
func checkDemoSummary(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: demo-summary FILE RESULT BUILDS INSTANCES")
	}
	var got struct {
		Result string
		Builds []struct {
			Builder    string
			Number     int
			Result     string
			InstanceID string           `json:"instance_id"`
			Type       string           `json:"instance_type"`
			Phases     map[string]int64 `json:"phases_ms"`
		}
		Started *int     `json:"instances_started"`
		Alive   *int     `json:"instances_alive"`
		Cost    *float64 `json:"cost_usd"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &got))
	builds, err := strconv.Atoi(args[2])
	ts.Check(err)
	instances, err := strconv.Atoi(args[3])
	ts.Check(err)
	if got.Result != args[1] || len(got.Builds) != builds {
		ts.Fatalf("result %q of %d builds", got.Result, len(got.Builds))
	}
	if got.Started == nil || *got.Started != instances || got.Alive == nil || *got.Alive != 0 || got.Cost == nil || *got.Cost <= 0 {
		ts.Fatalf("instances: %s", ts.ReadFile(args[0]))
	}
	seen := map[string]bool{}
	for _, b := range got.Builds {
		if b.Result != args[1] || b.Builder != "demo" || b.Number < 1 || b.Type == "" || b.InstanceID == "" || seen[b.InstanceID] {
			ts.Fatalf("build %+v", b)
		}
		seen[b.InstanceID] = true
		for _, phase := range []string{"request_to_launch", "launch_to_running", "running_to_attached", "attached_to_first_step", "first_step_to_finished"} {
			if v, ok := b.Phases[phase]; !ok || v < 0 {
				ts.Fatalf("phase %s of %+v", phase, b)
			}
		}
		// The launch counts from its answer, which comes when the boot has begun.
		if ms := b.Phases["request_to_launch"] + b.Phases["launch_to_running"]; ms < 100 {
			ts.Fatalf("the instance was running %d ms after the request, before its boot delay", ms)
		}
	}
}

// TestDemoInterrupted interrupts a demo at several moments of its life: no
// process, no directory and no instance is left.
func TestDemoInterrupted(t *testing.T) {
	dormouse := buildDormouse(t)
	for _, moment := range []string{
		"master at", "request 1 for demo", "was started for worker", "has its worker attached", "step is at work", "idle instances end",
	} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			// Everything that the demo starts has this directory in its
			// environment, and so can be found wherever it went.
			repo := commitRepository(t, dir)
			args := []string{"demo", "--boot-delay", "300ms", "--repo", repo, "--command"}
			if moment == "idle instances end" {
				args = append(args, "true", "--build-wait-timeout", "1h")
			} else {
				args = append(args, "setsid sleep 1000 & sleep 1000 & echo step is at work; wait")
			}
			cmd := exec.Command(dormouse, args...)
			cmd.Env = append(os.Environ(), "TMPDIR="+dir)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			guard := time.AfterFunc(5*time.Minute, func() { cmd.Process.Kill() })
			defer guard.Stop()
			var text strings.Builder
			interrupted := false
			for s := bufio.NewScanner(out); s.Scan(); {
				text.WriteString(s.Text() + "\n")
				if !interrupted && strings.Contains(s.Text(), moment) && !strings.Contains(s.Text(), "echo "+moment) {
					interrupted = true
					if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
						t.Fatal(err)
					}
				}
			}
			err = cmd.Wait()
			var exit *exec.ExitError
			if !interrupted || !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
				t.Fatalf("interrupted: %v, ended with %v\n%s", interrupted, err, text.String())
			}
			if !strings.Contains(text.String(), " 0 alive") {
				t.Errorf("it does not say that no instance is alive:\n%s", text.String())
			}
			if left := processesWith(t, dir); len(left) > 0 {
				t.Errorf("processes left: %v\n%s", left, text.String())
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "dormouse-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// buildDormouse returns this test binary under the name that makes it the
// command.
func buildDormouse(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("dormouse")
	if err != nil {
		t.Fatalf("testscript puts the command on the PATH: %v", err)
	}
	return path
}

func commitRepository(t *testing.T, dir string) string {
	t.Helper()
	repo := filepath.Join(dir, "repo")
	for _, args := range [][]string{
		{"init", "-q", repo},
		{"-C", repo, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "--allow-empty", "-m", "nothing"},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	return repo
}

// processesWith lists the processes that have a text in their environment.
func processesWith(t *testing.T, part string) (found []string) {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range environs {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended, or is another user's
		}
		if strings.Contains(string(text), part) {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			found = append(found, fmt.Sprintf("%s: %s", path, strings.ReplaceAll(string(command), "\x00", " ")))
		}
	}
	return found
}
