package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

// Write is one kind of write. Prepare makes rows of its own for one, the n-th, and
// returns it with a look at what it has done. To do it again is to ask what came
// of it, as callers do whose answer was lost: where that takes a read, do has it.
type Write struct {
	Name    string
	Prepare func(t testing.TB, f *Fixture, n int) (do func(context.Context) error, look func(testing.TB) string)
}

// Fixture is a database with a master, for tests of other packages.
type Fixture = fixture

// NewFixture makes a master the owner of a database.
func NewFixture(t *testing.T, db *store.DB) *Fixture { return newFixture(t, db) }

// Warm are writes that touch no row of the others, by each way there is.
func (f *fixture) Warm(ctx context.Context) error {
	if err := f.RenewLease(ctx, time.Hour, epoch); err != nil {
		return err
	}
	return f.SaveWorker(ctx, store.WorkerRecord{Name: "warm", State: []byte("{}"), UpdatedAt: epoch})
}

// Writes are all kinds of writes.
var Writes = []Write{
	{"AcquireLease", func(t testing.TB, f *fixture, _ int) (func(context.Context) error, func(testing.TB) string) {
		return func(ctx context.Context) (err error) {
			owner, err := f.AcquireLease(ctx, "master-1", time.Hour, epoch)
			if err == nil {
				f.Owner = owner
			}
			return err
		}, func(t testing.TB) string { return said(f.Warm(t.Context())) }
	}},
	{"RenewLease", func(t testing.TB, f *fixture, _ int) (func(context.Context) error, func(testing.TB) string) {
		return func(ctx context.Context) error { return f.RenewLease(ctx, time.Hour, epoch) },
			func(t testing.TB) string { return said(f.Warm(t.Context())) }
	}},
	{"ReleaseLease", func(t testing.TB, f *fixture, _ int) (func(context.Context) error, func(testing.TB) string) {
		released := f.Owner
		return released.ReleaseLease, func(t testing.TB) string {
			var err error
			f.Owner, err = f.AcquireLease(t.Context(), "master-1", time.Hour, epoch)
			check(t, err)
			return said(released.RenewLease(t.Context(), time.Hour, epoch))
		}
	}},
	{"SubmitRequests", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		builder := fmt.Sprint("submitted ", n)
		return func(ctx context.Context) error {
			_, err := f.SubmitRequests(ctx, []dormouse.BuildRequest{{Builder: builder, Key: builder + " a"}, {Builder: builder, Key: builder + " b"}})
			return err
		}, func(t testing.TB) string { return f.requests(t, builder) }
	}},
	{"CollapseRequests", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		builder := fmt.Sprint("collapsed ", n)
		a, b := f.submit(t, builder), f.submit(t, builder)
		return func(ctx context.Context) error {
			return f.collapse(ctx, []store.Collapse{{ID: a.ID, Into: b.ID}}, at(1))
		}, func(t testing.TB) string { return f.requests(t, builder) }
	}},
	{"CancelRequest", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		builder := fmt.Sprint("cancelled ", n)
		r := f.submit(t, builder)
		return func(ctx context.Context) error {
			_, err := f.CancelRequest(ctx, r.ID, at(1))
			return f.unless(ctx, err, r.ID, dormouse.RequestComplete)
		}, func(t testing.TB) string { return f.requests(t, builder) }
	}},
	{"StartBuild", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		builder := fmt.Sprint("started ", n)
		r := f.submit(t, builder)
		return func(ctx context.Context) error {
			_, _, err := f.StartBuild(ctx, store.NewBuild{RequestID: r.ID, Worker: "w1", StartedAt: at(1)})
			return f.unless(ctx, err, r.ID, dormouse.RequestClaimed)
		}, func(t testing.TB) string { return f.requests(t, builder) + f.builds(t, builder) }
	}},
	{"FinishBuild", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		builder := fmt.Sprint("finished ", n)
		b := f.start(t, builder)
		l := f.logOf(t, b.ID)
		_, err := f.AppendLog(t.Context(), l.ID, 0, []dormouse.LogLine{line("x", 0)}, "")
		check(t, err)
		return func(ctx context.Context) error {
				return f.finish(ctx, b.ID, store.Ending{Result: dormouse.Failure, StateString: "failed", At: at(9)})
			}, func(t testing.TB) string {
				return f.requests(t, builder) + f.builds(t, builder) + f.steps(t, b.ID)
			}
	}},
	{"FinishBuild", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		builder := fmt.Sprint("interrupted ", n)
		b := f.start(t, builder)
		return func(ctx context.Context) error {
			return f.finish(ctx, b.ID, store.Ending{
				Result: dormouse.Retry, StateString: "taken back", At: at(9), Requeue: true, NotBefore: at(20), Interrupted: true, Lost: true,
			})
		}, func(t testing.TB) string { return f.requests(t, builder) + f.builds(t, builder) }
	}},
	{"TakePlace", func(t testing.TB, f *fixture, _ int) (func(context.Context) error, func(testing.TB) string) {
		return func(ctx context.Context) error { return f.TakePlace(ctx, "here", at(1)) },
			func(testing.TB) string { return "" }
	}},
	{"SetBuildState", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		builder := fmt.Sprint("state ", n)
		b := f.start(t, builder)
		return func(ctx context.Context) error { return f.SetBuildState(ctx, b.ID, "compiling") },
			func(t testing.TB) string { return f.builds(t, builder) }
	}},
	{"SetProperties", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("properties ", n))
		return func(ctx context.Context) error {
				return f.SetProperties(ctx, b.ID, dormouse.Properties{"a": {Value: 1}, "b": {Value: "two"}})
			}, func(t testing.TB) string {
				b, err := f.Build(t.Context(), b.ID)
				return fmt.Sprint(b.Properties, err)
			}
	}},
	{"StartStep", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("steps ", n))
		return func(ctx context.Context) error {
			_, err := f.StartStep(ctx, dormouse.Step{BuildID: b.ID, Index: 1, Name: "shell", StartedAt: at(2)})
			return err
		}, func(t testing.TB) string { return f.steps(t, b.ID) }
	}},
	{"FinishStep", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("steps ended ", n))
		s := f.step(t, b.ID, 0)
		return func(ctx context.Context) error {
			return f.finishStep(ctx, s.ID, dormouse.Warnings, "2 warnings", true, at(3))
		}, func(t testing.TB) string { return f.steps(t, b.ID) }
	}},
	{"NewLog", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("logs ", n))
		s := f.step(t, b.ID, 0)
		return func(ctx context.Context) error {
			_, err := f.NewLog(ctx, s.ID, "stdio", dormouse.LogStdio)
			return err
		}, func(t testing.TB) string { return f.steps(t, b.ID) }
	}},
	{"AppendLog", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("lines ", n))
		l := f.logOf(t, b.ID)
		_, err := f.AppendLog(t.Context(), l.ID, 0, []dormouse.LogLine{line("first", 0)}, "")
		check(t, err)
		return func(ctx context.Context) error {
				_, err := f.AppendLog(ctx, l.ID, 1, []dormouse.LogLine{line("second", 1), line("third", 2)}, "so far")
				return err
			}, func(t testing.TB) string {
				lines, err := f.LogLines(t.Context(), l.ID, 0, 100)
				check(t, err)
				r, err := f.Resumable(t.Context(), b.ID)
				return fmt.Sprint(lines, f.steps(t, b.ID), r.Progress[l.StepID], err)
			}
	}},
	{"CompleteLog", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("logs ended ", n))
		l := f.logOf(t, b.ID)
		return func(ctx context.Context) error {
			_, err := f.CompleteLog(ctx, l.ID)
			return err
		}, func(t testing.TB) string { return f.steps(t, b.ID) }
	}},
	{"SetProgress", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("progress ", n))
		s := f.step(t, b.ID, 0)
		return func(ctx context.Context) error { return f.SetProgress(ctx, s.ID, "half") }, func(t testing.TB) string {
			r, err := f.Resumable(t.Context(), b.ID)
			return fmt.Sprint(r.Progress[s.ID], err)
		}
	}},
	{"SetStopReason", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("stopped ", n))
		return func(ctx context.Context) error { return f.SetStopReason(ctx, b.ID, "enough") }, func(t testing.TB) string {
			r, err := f.Resumable(t.Context(), b.ID)
			return fmt.Sprint(r.StopReason, err)
		}
	}},
	{"Abandon", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("abandoned ", n))
		return func(ctx context.Context) error { return f.Abandon(ctx, b.ID) }, func(t testing.TB) string {
			r, err := f.Resumable(t.Context(), b.ID)
			return fmt.Sprint(r, err)
		}
	}},
	{"AddArtifacts", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		b := f.start(t, fmt.Sprint("artifacts ", n))
		s := f.step(t, b.ID, 0)
		return func(ctx context.Context) error {
				return f.AddArtifacts(ctx, b.ID, []dormouse.Artifact{{BuildID: b.ID, StepID: s.ID, Path: "a", Bytes: 7}})
			}, func(t testing.TB) string {
				list, err := f.Artifacts(t.Context(), b.ID, "", 0)
				check(t, err)
				return fmt.Sprint(len(list), list[0].Path, list[0].Bytes)
			}
	}},
	{"SaveWorker", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		w := fmt.Sprint("saved ", n)
		return func(ctx context.Context) error {
				return f.SaveWorker(ctx, store.WorkerRecord{Name: w, State: []byte("{}")}, dormouse.Generation{Worker: w, Number: 1, OpenedAt: epoch})
			}, func(t testing.TB) string {
				all, err := f.Generations(t.Context(), w, true)
				return fmt.Sprint(len(all), err)
			}
	}},
	{"BindSecret", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		w := f.generation(t, fmt.Sprint("bound ", n))
		return func(ctx context.Context) error {
				_, err := f.BindSecret(ctx, w, 1, "hash")
				return err
			}, func(t testing.TB) string {
				hash, err := f.BoundSecret(t.Context(), w, 1)
				return fmt.Sprint(hash, err)
			}
	}},
	{"OpenAttempts", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		a, b := f.generation(t, fmt.Sprint("opened a ", n)), f.generation(t, fmt.Sprint("opened b ", n))
		return func(ctx context.Context) error {
				opened, err := f.OpenAttempts(ctx, []dormouse.LaunchAttempt{
					{Launch: "l", Token: a, Worker: a, Generation: 1, Request: []byte("r")}, {Worker: b, Generation: 1},
				})
				if err == nil && (len(opened) != 2 || opened[0].ID == 0 || opened[1].Worker != b || opened[1].Number != 1) {
					err = fmt.Errorf("opened %+v", opened)
				}
				return err
			}, func(t testing.TB) string {
				list, err := f.LaunchAttempts(t.Context(), a)
				return fmt.Sprint(len(list), err)
			}
	}},
	{"SettleAttempts", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		w := f.generation(t, fmt.Sprint("settled ", n))
		a, err := f.openAttempt(t.Context(), dormouse.LaunchAttempt{Launch: "l", Token: w, Worker: w, Generation: 1})
		check(t, err)
		a.State = dormouse.AttemptAccepted
		return func(ctx context.Context) error {
				return f.settle(ctx, a, []dormouse.Instance{{ID: "i-" + w, Worker: w, AttemptID: a.ID, LaunchedAt: epoch}})
			}, func(t testing.TB) string {
				list, err := f.Instances(t.Context(), store.InstanceFilter{Worker: w})
				return fmt.Sprint(len(list), err)
			}
	}},
	{"SetAttemptConsole", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		w := f.generation(t, fmt.Sprint("console ", n))
		a, err := f.openAttempt(t.Context(), dormouse.LaunchAttempt{Launch: "l", Token: w, Worker: w, Generation: 1})
		check(t, err)
		return func(ctx context.Context) error { return f.SetAttemptConsole(ctx, a.ID, "boot") }, func(t testing.TB) string {
			list, err := f.LaunchAttempts(t.Context(), w)
			check(t, err)
			return list[0].Console
		}
	}},
	{"SaveInstance", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		id := fmt.Sprint("i-saved-", n)
		return func(ctx context.Context) error {
				return f.SaveInstance(ctx, dormouse.Instance{ID: id, Zone: "a", LaunchedAt: epoch})
			}, func(t testing.TB) string {
				i, err := f.Instance(t.Context(), id)
				return fmt.Sprint(i.Zone, err)
			}
	}},
	{"AddMail", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		id := fmt.Sprint("added ", n)
		return func(ctx context.Context) error {
				return f.AddMail(ctx, dormouse.Mail{MessageID: id, To: []string{"a"}})
			},
			func(t testing.TB) string { return f.mail(t, id) }
	}},
	{"PostponeMail", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		id := fmt.Sprint("postponed ", n)
		check(t, f.AddMail(t.Context(), dormouse.Mail{MessageID: id}))
		mail := f.mailID(t, id)
		return func(ctx context.Context) error { return f.PostponeMail(ctx, mail, 3, at(60)) },
			func(t testing.TB) string {
				text := f.mail(t, id)
				check(t, f.RemoveMail(t.Context(), mail)) // only so many are listed
				return text
			}
	}},
	{"RemoveMail", func(t testing.TB, f *fixture, n int) (func(context.Context) error, func(testing.TB) string) {
		id := fmt.Sprint("removed ", n)
		check(t, f.AddMail(t.Context(), dormouse.Mail{MessageID: id}))
		mail := f.mailID(t, id)
		return func(ctx context.Context) error { return f.RemoveMail(ctx, mail) },
			func(t testing.TB) string { return f.mail(t, id) }
	}},
}

// testRepeated does every write twice: the second time changes nothing, and says
// that it is done.
func testRepeated(t *testing.T, f *fixture) {
	for m := range reflect.TypeFor[*store.Owner]().Methods() {
		writes := m.Name != "Until" && m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]()
		if writes && !slices.ContainsFunc(Writes, func(w Write) bool { return strings.HasPrefix(m.Name, w.Name) }) {
			t.Errorf("%s is missing in Writes", m.Name)
		}
	}
	for i, w := range Writes {
		t.Run(w.Name, func(t *testing.T) {
			once, look := w.Prepare(t, f, 2*i)
			check(t, once(t.Context()))
			want := look(t)
			twice, look := w.Prepare(t, f, 2*i+1)
			check(t, twice(t.Context()))
			check(t, twice(t.Context()))
			if got := look(t); got != want {
				t.Errorf("done twice: %s\nonce: %s", got, want)
			}
		})
	}
}

// unless settles an error by the state that a request has: an answer that was lost
// is read back.
func (f *fixture) unless(ctx context.Context, err error, id int64, want dormouse.RequestState) error {
	if dormouse.CodeOf(err) != dormouse.Conflict {
		return err
	}
	r, rerr := f.Request(ctx, id)
	if rerr == nil && r.State == want {
		return nil
	}
	return fmt.Errorf("%w (%w)", err, rerr)
}

func said(err error) string { return fmt.Sprint(err) }

// requests, builds, steps and mail tell what rows say, without their ids.
func (f *fixture) requests(t testing.TB, builder string) (text string) {
	t.Helper()
	list, err := f.Requests(t.Context(), store.RequestFilter{Builder: builder})
	check(t, err)
	for _, r := range list {
		result := "no result"
		if r.Result != nil {
			result = fmt.Sprint(*r.Result)
		}
		text += fmt.Sprintln("request", r.State, result, r.BuildID != 0, r.CollapsedInto != 0, r.Interrupted, r.CompleteAt)
	}
	return text
}

func (f *fixture) builds(t testing.TB, builder string) (text string) {
	t.Helper()
	list, err := f.Builds(t.Context(), store.BuildFilter{Builder: builder})
	check(t, err)
	for _, b := range list {
		text += fmt.Sprintln("build", b.Number, b.StateString, b.Result != nil, b.FinishedAt)
	}
	return text
}

func (f *fixture) steps(t testing.TB, build int64) (text string) {
	t.Helper()
	list, err := f.Steps(t.Context(), build)
	check(t, err)
	for _, s := range list {
		text += fmt.Sprintln("step", s.Index, s.Name, s.StateString, s.Hidden, s.Result != nil, s.FinishedAt)
		for _, l := range s.Logs {
			text += fmt.Sprintln("log", l.Name, l.Lines, l.Bytes, l.Complete)
		}
	}
	return text
}

func (f *fixture) mail(t testing.TB, messageID string) (text string) {
	t.Helper()
	list, err := f.Mails(t.Context())
	check(t, err)
	for _, m := range list {
		if m.MessageID == messageID {
			text += fmt.Sprintln("mail", m.Attempts, m.NextAt)
		}
	}
	return text
}

func (f *fixture) mailID(t testing.TB, messageID string) int64 {
	t.Helper()
	list, err := f.Mails(t.Context())
	check(t, err)
	for _, m := range list {
		if m.MessageID == messageID {
			return m.ID
		}
	}
	t.Fatalf("no mail %q", messageID)
	return 0
}

// logOf starts a step of a build with a log.
func (f *fixture) logOf(t testing.TB, build int64) dormouse.Log {
	t.Helper()
	l, err := f.NewLog(t.Context(), f.step(t, build, 0).ID, "stdio", dormouse.LogStdio)
	check(t, err)
	return l
}

// generation opens the first generation of a worker, whose name it returns.
func (f *fixture) generation(t testing.TB, worker string) string {
	t.Helper()
	check(t, f.SaveWorker(t.Context(), store.WorkerRecord{Name: worker, State: []byte("{}")},
		dormouse.Generation{Worker: worker, Number: 1, OpenedAt: epoch}))
	return worker
}
