package build_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
)

// noting is a master's disk whose notes are writes of a mortal store.
type noting struct {
	*disk
	m *mortal
}

func (n noting) Keep(ctx context.Context, id int64, list []dormouse.Artifact) error {
	return n.m.write(func() error { return n.disk.Keep(ctx, id, list) })
}

// asking is a mortal store's Triggers.
type asking struct {
	*farmhand
	m *mortal
}

func (a asking) Submit(ctx context.Context, o build.TriggerOrder) (made []dormouse.BuildRequest, err error) {
	err = a.m.write(func() (err error) { made, err = a.farmhand.Submit(ctx, o); return err })
	return made, err
}

// TestMasterDiesAmidFiles kills the master at each write of a build that moves
// files, sets properties and triggers others: the next master brings it to the
// same end, each file is kept whole, and each build asked for once.
func TestMasterDiesAmidFiles(t *testing.T) {
	job := func(f *farm) build.Job {
		j := f.job(
			sh("make", "mkdir -p out; head -c 600000 /dev/zero > out/big; echo a > out/a"),
			step("set", dormouse.SetProperty{Values: map[string]any{"v": "1"}}),
			step("from command", dormouse.SetPropertyFromCommand{
				ShellCommand: dormouse.ShellCommand{Command: "echo two", WantStdout: true}, Property: "p", Strip: true, IncludeStdout: true,
			}),
			step("file", dormouse.Upload{Sources: []any{"out/big"}, Dest: text(t, "%(prop:v)s/%(prop:p)s")}),
			step("directory", dormouse.Upload{Kind: dormouse.UploadDirectory, Sources: []any{"out"}, Dest: "dir", Compress: "gz"}),
			step("text", dormouse.Download{HasText: true, Text: "x", Dest: "x"}),
			step("master", dormouse.MasterShellCommand{Command: "echo hi"}),
			step("trigger", dormouse.Trigger{Schedulers: []any{"success", "warnings"}, WaitForFinish: true}),
			sh("look", "cat x"),
		)
		j.Resumable, j.Abandon = true, notAbandoned(t)
		return j
	}
	type result struct {
		Outcome build.Outcome
		Steps   []string
		Kept    []string
		Asked   int
		Look    string
		Props   []any
	}
	sum := func(d *disk, h *farmhand, m *memory, out build.Outcome) result {
		return result{
			Outcome: out, Steps: m.results(), Kept: slices.Compact(d.paths()), Asked: len(h.made), Look: m.stdout(len(m.steps) - 1),
			Props: []any{m.props["v"].Value, m.props["p"].Value},
		}
	}
	run := func(t *testing.T, at int, before bool) (result, *mortal) {
		f, attached := newResumingFarm(t)
		d, h := newDisk(t), &farmhand{}
		m := newMortal(at, before)
		life, ended := m.life(t, f)
		j := job(f)
		j.Reattach = comesBack(attached)
		quiet := slog.New(slog.DiscardHandler)
		out := (&build.Runner{Store: m, Announce: m.announce, Log: quiet, Files: noting{d, m}, Triggers: asking{h, m}}).Run(life, j, nil)
		ended()
		if m.dead {
			if !out.Left {
				t.Fatalf("the killed master's build ended: %+v", out)
			}
			j.Worker, j.Past = nil, m.past()
			if j.Build.Properties = m.props.Clone(); m.props == nil {
				j.Build.Properties = dormouse.Properties{}
			}
			out = f.runWith(t, build.Runner{Store: m.memory, Announce: m.announce, Files: d, Triggers: h}, m.memory, j, nil)
		}
		d.nothingLeft(t)
		if len(h.cancelled) > 0 {
			t.Errorf("cancelled: %v", h.cancelled)
		}
		return sum(d, h, m.memory, out), m
	}
	want, m := run(t, 0, false)
	if want.Outcome.Result != dormouse.Success || !slices.Equal(want.Kept, []string{"1/two", "dir/a", "dir/big"}) || want.Asked != 2 || want.Look != "x\n" {
		t.Fatalf("undisturbed: %+v", want)
	}
	t.Logf("a build of %d writes: %d kills", m.writes, (m.writes+1)/2)
	for at := 1; at <= m.writes; at += 2 { // one in two, for the time that it takes
		// Every other write is carried out before anybody can hear of it.
		before := at%4 == 1
		t.Run(fmt.Sprintf("write %d, before it: %v", at, before), func(t *testing.T) {
			t.Parallel()
			got, m := run(t, at, before)
			if !m.dead {
				t.Logf("it had only %d writes this time", m.writes)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-undisturbed +killed)\n%s", diff)
			}
		})
	}
}

// TestConnectionDropsInMidUpload: the upload begins again over the next
// connection, and is whole.
func TestConnectionDropsInMidUpload(t *testing.T) {
	f, attached := newResumingFarm(t)
	d, m := newDisk(t), &memory{}
	j := f.job(sh("make", "head -c 3000000 /dev/zero > big"), step("upload", dormouse.Upload{Sources: []any{"big"}, Dest: "big"}))
	j.Resumable, j.Abandon = true, notAbandoned(t)
	drops := 0
	j.Reattach = func(ctx context.Context) (build.Worker, error) {
		select {
		case w := <-attached:
			drops++
			return w, w.KeepCommands(ctx, []string{"1"})
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var once sync.Once
	out := f.runWith(t, build.Runner{
		Store: m, Announce: m.announce, Files: onWrite{d, func() { once.Do(func() { f.worker.Close("dropped") }) }},
	}, m, j, nil)
	if out.Result != dormouse.Success || drops != 1 || len(d.kept) != 1 || d.kept[0].Bytes != 3000000 {
		t.Errorf("%+v after %d drops, kept %+v\n%s", out, drops, d.kept, m.text(1))
	}
	d.nothingLeft(t)
}
