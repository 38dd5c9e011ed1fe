package build_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
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

// listener is a log that calls a function for what it is told.
type listener struct {
	slog.Handler
	on func(message string)
}

func (l listener) Enabled(context.Context, slog.Level) bool { return true }
func (l listener) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l listener) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.Value.String(); return true })
	l.on(text)
	return nil
}

// A full disk at the master holds an upload back, and says so: it goes on where
// it was once there is room, and one that is stopped leaves nothing.
func TestMasterDiskFull(t *testing.T) {
	for name, up := range map[string]dormouse.Upload{
		"file":      {Sources: []any{"out/big"}, Dest: "big"},
		"directory": {Kind: dormouse.UploadDirectory, Sources: []any{"out"}, Dest: "dir"},
	} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stopped %t", name, stopped), func(t *testing.T) { testDiskFull(t, up, stopped) })
		}
	}
}

func testDiskFull(t *testing.T, up dormouse.Upload, stopped bool) {
	f, d, m := newFarm(t), newDisk(t), &memory{}
	small := filepath.Join(d.BaseDir(), "artifacts")
	if err := os.MkdirAll(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("a small disk cannot be made here, so none gets full: %v", err)
		return
	}
	defer func() {
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	}()
	stop := make(chan string, 1)
	held := 0
	log := slog.New(listener{slog.DiscardHandler, func(text string) {
		if !strings.Contains(text, "is held back") || !strings.Contains(text, "the master's disk is full") {
			return
		}
		if held++; stopped {
			stop <- "enough"
		} else if err := syscall.Mount("tmpfs", small, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
			t.Error(err)
		}
	}})
	job := f.job(sh("make", "mkdir out; head -c 3000000 /dev/urandom > out/big; echo fine > out/a"), step("up", up))
	out := f.runWith(t, build.Runner{Store: m, Announce: m.announce, Files: d, Log: log}, m, job, stop)
	want, kept := dormouse.Success, map[string][]string{"big": {"big"}, "dir": {"dir/a", "dir/big"}}[up.Dest.(string)]
	if stopped {
		want, kept = dormouse.Cancelled, nil
	}
	if out.Result != want || held != 1 {
		t.Errorf("%+v, held back %d times: %s", out, held, m.text(1))
	}
	if diff := cmp.Diff(kept, d.paths()); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	for _, a := range d.kept {
		sent, err := os.ReadFile(filepath.Join(f.dir, "x/build/out", filepath.Base(a.Path)))
		if err != nil {
			t.Fatal(err)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(sent)); sum != a.SHA256 {
			t.Errorf("%s is another file", a.Path)
		}
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
