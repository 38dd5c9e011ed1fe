package build_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/wire"
)

// nothingLeft holds that no upload is on the way any more.
func (d *disk) nothingLeft(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(d.BaseDir(), "artifacts", ".incoming"))
	if len(entries) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left on the way: %v, %v", entries, err)
	}
}

// onWrite is a master's disk whose uploads tell when they have a part.
type onWrite struct {
	*disk
	do func()
}

func (d onWrite) Begin(b dormouse.Build) (build.Upload, error) {
	u, err := d.disk.Begin(b)
	return onWriteUpload{u, d.do}, err
}

type onWriteUpload struct {
	build.Upload
	do func()
}

func (u onWriteUpload) File(dest string, limit int64, mode os.FileMode) (wire.FileWriter, error) {
	w, err := u.Upload.File(dest, limit, mode)
	return onWriteFile{w, u.do}, err
}

type onWriteFile struct {
	wire.FileWriter
	do func()
}

func (f onWriteFile) Write(ctx context.Context, p []byte) error {
	err := f.FileWriter.Write(ctx, p)
	f.do()
	return err
}

// A worker that is gone in the middle of an upload leaves nothing of it.
func TestWorkerVanishesInMidUpload(t *testing.T) {
	for name, farm := range map[string]func(*testing.T) (*farm, func()){
		"ours":  func(t *testing.T) (*farm, func()) { f := newFarm(t); return f, f.kill },
		"stock": func(t *testing.T) (*farm, func()) { f := newStockFarm(t); return f, func() { f.worker.Close("gone") } },
	} {
		t.Run(name, func(t *testing.T) {
			f, kill := farm(t)
			d, m := newDisk(t), &memory{}
			var once sync.Once
			job := f.job(
				sh("make", "head -c 5000000 /dev/zero > big"),
				step("upload", dormouse.Upload{Sources: []any{"big"}, Dest: "big"}),
			)
			out := f.runWith(t, build.Runner{Store: m, Announce: m.announce, Files: onWrite{d, func() { once.Do(kill) }}}, m, job, nil)
			if out.Result != dormouse.Retry || len(d.paths()) > 0 {
				t.Errorf("%+v, kept %v\n%s", out, d.paths(), m.text(1))
			}
			d.nothingLeft(t)
			if entries, err := os.ReadDir(filepath.Join(d.BaseDir(), "artifacts", "x")); err == nil {
				t.Errorf("looks whole: %v", entries)
			}
		})
	}
}

// A full disk at the master is said, and leaves nothing that looks whole.
func TestMasterDiskFull(t *testing.T) {
	f, d, m := newFarm(t), newDisk(t), &memory{}
	small := filepath.Join(d.BaseDir(), "artifacts")
	if err := os.MkdirAll(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("a small disk can not be made here, so none gets full: %v", err)
		return
	}
	defer func() {
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	}()
	job := f.job(
		sh("make", "mkdir out; head -c 3000000 /dev/zero > out/big; echo fine > out/a"),
		always(step("file", dormouse.Upload{Sources: []any{"out/big"}, Dest: "big"})),
		always(step("directory", dormouse.Upload{Kind: dormouse.UploadDirectory, Sources: []any{"out"}, Dest: "dir"})),
		always(step("small", dormouse.Upload{Sources: []any{"out/a"}, Dest: "a"})),
	)
	f.files(t, m, d, job, nil)
	if diff := cmp.Diff([]string{"make success", "file exception", "directory exception", "small success"}, m.results()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	for _, i := range []int{1, 2} {
		if !strings.Contains(m.text(i), "the master's disk is full") {
			t.Errorf("the log of %s:\n%s", m.steps[i].Name, m.text(i))
		}
	}
	if diff := cmp.Diff([]string{"a"}, d.paths()); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	d.nothingLeft(t)
}

// What was uploaded, but could not be noted, is not shown.
func TestArtifactsCanNotBeNoted(t *testing.T) {
	f, d, m := newFarm(t), newDisk(t), &memory{}
	d.fail = dormouse.Errorf(dormouse.Conflict, "no")
	out := f.files(t, m, d, f.job(sh("make", "echo a > a"), step("file", dormouse.Upload{Sources: []any{"a"}, Dest: "a"})), nil)
	if out.Result != dormouse.Exception {
		t.Errorf("%+v", out)
	}
	d.nothingLeft(t)
}

func TestManySteps(t *testing.T) {
	f, m := newFarm(t), &memory{}
	var steps []dormouse.StepSpec
	for range 200 {
		steps = append(steps, sh("echo", "echo hi"))
	}
	out := f.run(t, m, f.job(steps...), nil)
	if out.Result != dormouse.Success || len(m.steps) != 200 || m.steps[199].Name != "echo_199" || m.stdout(199) != "hi\n" {
		t.Errorf("%+v, %d steps", out, len(m.steps))
	}
}

// A build that is stopped at any moment ends, and what it was about to keep is
// whole or not there.
func TestStoppedAtEachMoment(t *testing.T) {
	f := newFarm(t)
	for moment := 1; ; moment++ {
		d, m, hand := newDisk(t), &memory{}, &farmhand{}
		stop := make(chan string, 1)
		calls := 0
		m.fail = func(string) error {
			if calls++; calls == moment {
				stop <- "enough"
			}
			return nil
		}
		job := f.job(
			sh("make", "mkdir -p out; echo a > out/a"),
			step("property", dormouse.SetProperty{Values: map[string]any{"a": 1}}),
			step("file", dormouse.Upload{Sources: []any{"out/a"}, Dest: "file"}),
			step("directory", dormouse.Upload{Kind: dormouse.UploadDirectory, Sources: []any{"out"}, Dest: "dir"}),
			step("text", dormouse.Download{HasText: true, Text: "x", Dest: "x"}),
			step("master", dormouse.MasterShellCommand{Command: "echo hi"}),
			step("trigger", dormouse.Trigger{Schedulers: []any{"success"}, WaitForFinish: true}),
			always(sh("always", "echo done")),
		)
		out := f.runWith(t, build.Runner{Store: m, Announce: m.announce, Files: d, Triggers: hand}, m, job, stop)
		last := len(m.steps) - 1
		if m.steps[last].Name != "always" || *m.steps[last].Result != dormouse.Success && *m.steps[last].Result != dormouse.Cancelled {
			t.Fatalf("moment %d: %+v, steps %v", moment, out, m.results())
		}
		d.nothingLeft(t)
		for _, a := range d.kept {
			g, err := d.Open(job.Build, a)
			if err != nil {
				t.Errorf("moment %d: %s was kept: %v", moment, a.Path, err)
				continue
			}
			if fi, err := g.Stat(); err != nil || fi.Size() != 2 {
				t.Errorf("moment %d: %s has %d bytes, %v", moment, a.Path, fi.Size(), err)
			}
			g.Close()
		}
		if calls < moment {
			if out.Result != dormouse.Success {
				t.Errorf("not stopped: %+v %v", out, m.results())
			}
			t.Logf("%d moments", moment-1)
			return
		}
		if out.Result != dormouse.Cancelled {
			t.Errorf("moment %d: %+v, steps %v", moment, out, m.results())
		}
		if t.Failed() {
			t.Fatal(fmt.Sprint("stopped at moment ", moment))
		}
	}
}
