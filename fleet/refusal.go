package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// A chore is something that has to be done so that nothing goes on costing money,
// or standing in the way: it is tried for as long as it takes, and said where it is
// refused.
type chore struct {
	kind choreKind
	id   string // of the instance, the address, the account; or worker/generation
}

type choreKind string

const (
	choreTerminate choreKind = "terminating an instance"
	choreSettle    choreKind = "settling a launch that may have started an instance"
	choreRelease   choreKind = "taking back what an instance holds"
	choreLetGo     choreKind = "letting go of what was left behind"
	choreList      choreKind = "listing the instances"
	choreSeek      choreKind = "looking for what was left behind"
)

// refusal is a chore that is being refused.
type refusal struct {
	worker, account string
	since           time.Time
	tries           int
	// A person is told at sayAt at the earliest, and then not for pause, which
	// doubles.
	sayAt time.Time
	pause time.Duration
	said  bool
}

// The pauses between two log lines about one lasting refusal: a person who acts
// needs one, and one who was away finds it again within a working day.
const (
	sayAgainFirst = 5 * time.Minute
	sayAgainMax   = 6 * time.Hour
)

// passing is how many tries a fault may take that ends by itself, such as
// throttling, before it is worth a line in the log.
const passing = 3

// refused notes that a chore was refused. A person is told when that begins, and
// from then on rarely.
func (f *Fleet) refused(c chore, worker, account string, err error) {
	if dormouse.CodeOf(err) == dormouse.NotFound || f.ctx.Err() != nil {
		return // it may not be shown yet; or this process ends
	}
	now := time.Now()
	f.mu.Lock()
	r := f.refusals[c]
	if r == nil {
		r = &refusal{worker: worker, account: account, since: now, pause: f.scaled(sayAgainFirst)}
		f.refusals[c] = r
	}
	r.tries++
	lasting := dormouse.CodeOf(err) == dormouse.Configuration || r.tries >= passing
	say := lasting && !now.Before(r.sayAt)
	still := r.said
	if say {
		r.said, r.sayAt = true, now.Add(r.pause)
		r.pause = min(2*r.pause, f.scaled(sayAgainMax))
	}
	told := *r
	var row *dormouse.Instance
	if c.kind == choreTerminate {
		f.failures.Terminations++
		if known := f.rows[c.id]; known != nil && known.TerminationRefused != err.Error() {
			known.TerminationRefused = err.Error()
			row = new(*known)
		}
	} else {
		f.failures.Others++
	}
	f.mu.Unlock()
	if row != nil {
		f.opt.Changed(*row)
	}
	if !say {
		return
	}
	level, text := slog.LevelWarn, string(c.kind)+" is refused; it is tried again"
	if c.kind == choreTerminate {
		level, text = slog.LevelError, "an instance cannot be terminated, and goes on costing money; it is tried again"
	}
	if still {
		text = "still: " + text
	}
	f.opt.Log.Log(context.Background(), level, text, told.attrs(c, "error", err)...)
}

func (r refusal) attrs(c chore, more ...any) []any {
	out := []any{c.subject(), c.id}
	if r.worker != "" {
		out = append(out, "worker", r.worker)
	}
	if r.account != "" && r.account != c.id {
		out = append(out, "account", r.account)
	}
	return append(append(out, "since", r.since.Format(time.DateTime), "tries", r.tries), more...)
}

// subject is what a chore's id is of.
func (c chore) subject() string {
	switch c.kind {
	case choreTerminate, choreRelease:
		return "instance"
	case choreSettle:
		return "generation"
	case choreList, choreSeek:
		return "account"
	default:
		return "id"
	}
}

// done notes that a chore is done, or is none any more.
func (f *Fleet) done(c chore) {
	f.mu.Lock()
	r := f.refusals[c]
	delete(f.refusals, c)
	if row := f.rows[c.id]; row != nil && c.kind == choreTerminate {
		row.TerminationRefused = ""
	}
	f.mu.Unlock()
	if r != nil && r.said {
		f.opt.Log.Info(string(c.kind)+" is no longer refused", r.attrs(c)...)
	}
}

// doneBut notes that of an account's chores of a kind only those are left that are
// still there to be done.
func (f *Fleet) doneBut(kind choreKind, account string, left map[string]bool) {
	var gone []chore
	f.mu.Lock()
	for c, r := range f.refusals {
		if c.kind == kind && r.account == account && !left[c.id] {
			gone = append(gone, c)
		}
	}
	f.mu.Unlock()
	for _, c := range gone {
		f.done(c)
	}
}

// generation names what is settled before a generation can end.
func generation(worker string, number int64) string { return fmt.Sprintf("%s/%d", worker, number) }

// Failures is how often, since the process began, the end of an instance was
// refused, and how often other things that have to be done so that nothing is left
// behind.
type Failures struct{ Terminations, Others int64 }

// Failures returns what was refused so far.
func (f *Fleet) Failures() Failures {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failures
}

// NotTerminated returns how many instances should have ended and have not, because
// EC2 refuses to end them.
func (f *Fleet) NotTerminated() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.refusals {
		if c.kind == choreTerminate {
			n++
		}
	}
	return n
}
