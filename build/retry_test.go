package build_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
)

// Why a build is RETRY, and in which step: a lost worker's is in
// TestRunLosesTheWorker, a store's in TestAStoreThatFails.
func TestCauses(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	asks := sh("asks", "exit 7")
	asks.Action = dormouse.ShellCommand{Command: "exit 7", DecodeRC: map[int]dormouse.Result{7: dormouse.Retry}}
	out := f.run(t, &memory{}, f.job(sh("a", "true"), asks, always(sh("b", "true"))), nil)
	if out.Result != dormouse.Retry || out.Cause != build.StepAsked || out.Step != "asks" {
		t.Errorf("a step that gives RETRY: %+v", out)
	}
	if out := f.run(t, &memory{}, f.job(sh("a", "exit 1")), nil); out.Cause != "" || out.Step != "" {
		t.Errorf("a build that fails: %+v", out)
	}
	for cause, end := range map[build.Cause]error{
		build.Interruption: build.Interrupted{Reason: "EC2 takes it back"}, build.MasterEnds: context.Canceled,
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		m := &memory{watch: when("started", func() { cancel(end) })}
		r := build.Runner{Store: m, Log: slog.New(slog.DiscardHandler)}
		if out := r.Run(ctx, f.job(sh("a", "echo started; sleep 600")), nil); out.Result != dormouse.Retry || out.Cause != cause || out.Step != "a" {
			t.Errorf("%s: %+v", cause, out)
		}
	}
}
