package master

import (
	"context"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

// fenced binds the fence of the master's lease to the writes of the packages
// that need know nothing of it.
type fenced struct {
	*store.DB
	fence store.Fence
}

func (f fenced) StartStep(ctx context.Context, s dormouse.Step) (dormouse.Step, error) {
	return f.DB.StartStep(ctx, f.fence, s)
}

func (f fenced) FinishStep(ctx context.Context, stepID int64, result dormouse.Result, stateString string, hidden bool, at time.Time) error {
	return f.DB.FinishStep(ctx, f.fence, stepID, result, stateString, hidden, at)
}

func (f fenced) NewLog(ctx context.Context, stepID int64, name string, t dormouse.LogType) (dormouse.Log, error) {
	return f.DB.NewLog(ctx, f.fence, stepID, name, t)
}

func (f fenced) AppendLog(ctx context.Context, logID, first int64, lines []dormouse.LogLine, progress string) (dormouse.Log, error) {
	if progress == "" {
		return f.DB.AppendLog(ctx, f.fence, logID, first, lines)
	}
	return f.DB.AppendLogProgress(ctx, f.fence, logID, first, lines, progress)
}

func (f fenced) SetProgress(ctx context.Context, stepID int64, progress string) error {
	return f.DB.SetProgress(ctx, f.fence, stepID, progress)
}

func (f fenced) CompleteLog(ctx context.Context, logID int64) (dormouse.Log, error) {
	return f.DB.CompleteLog(ctx, f.fence, logID)
}

func (f fenced) SetProperties(ctx context.Context, buildID int64, p dormouse.Properties) error {
	return f.DB.SetProperties(ctx, f.fence, buildID, p)
}

func (f fenced) SetBuildState(ctx context.Context, buildID int64, s string) error {
	return f.DB.SetBuildState(ctx, f.fence, buildID, s)
}

func (f fenced) AddMail(ctx context.Context, m dormouse.Mail) error {
	return f.DB.AddMail(ctx, f.fence, m)
}

func (f fenced) PostponeMail(ctx context.Context, id int64, attempts int, next time.Time) error {
	return f.DB.PostponeMail(ctx, f.fence, id, attempts, next)
}

func (f fenced) RemoveMail(ctx context.Context, id int64) error {
	return f.DB.RemoveMail(ctx, f.fence, id)
}

func (f fenced) OpenAttempts(ctx context.Context, attempts []dormouse.LaunchAttempt) ([]dormouse.LaunchAttempt, error) {
	return f.DB.OpenAttempts(ctx, f.fence, attempts...)
}

func (f fenced) SettleAttempts(ctx context.Context, attempts []dormouse.LaunchAttempt, instances []dormouse.Instance) error {
	return f.DB.SettleAttempts(ctx, f.fence, attempts, instances)
}

func (f fenced) SetAttemptConsole(ctx context.Context, id int64, console string) error {
	return f.DB.SetAttemptConsole(ctx, f.fence, id, console)
}

func (f fenced) SaveInstance(ctx context.Context, i dormouse.Instance) error {
	return f.DB.SaveInstance(ctx, f.fence, i)
}

func (f fenced) InstancesOf(ctx context.Context, worker string, generation int64) ([]dormouse.Instance, error) {
	// A worker has few instances at a time; those of its last generation are
	// among the newest.
	newest, err := f.DB.Instances(ctx, store.InstanceFilter{Worker: worker, Limit: 100})
	return slices.DeleteFunc(newest, func(i dormouse.Instance) bool { return i.Generation != generation }), err
}

func (f fenced) LiveInstances(ctx context.Context) ([]dormouse.Instance, error) {
	return f.DB.Instances(ctx, store.InstanceFilter{Live: true})
}
