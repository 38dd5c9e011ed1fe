package build_test

import (
	"context"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/artifact"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/wire"
)

// disk is a master's files, and what was kept of them.
type disk struct {
	*artifact.Store
	mu   sync.Mutex
	kept []dormouse.Artifact
	fail error
}

func newDisk(t testing.TB) *disk {
	t.Helper()
	base := t.TempDir()
	s, err := artifact.Open(base, filepath.Join(base, "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	return &disk{Store: s}
}

func (d *disk) Read(name string) (build.File, error) { return d.Store.Read(name) }

func (d *disk) Begin(b dormouse.Build) (build.Upload, error) {
	u, err := d.Store.Begin(b)
	return upload{u}, err
}

func (d *disk) Keep(_ context.Context, _ int64, list []dormouse.Artifact) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept = append(d.kept, list...)
	return d.fail
}

// paths are what has been kept.
func (d *disk) paths() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, a := range d.kept {
		out = append(out, a.Path)
	}
	slices.Sort(out)
	return out
}

type upload struct{ *artifact.Upload }

func (u upload) File(dest string, limit int64, mode fs.FileMode) (wire.FileWriter, error) {
	return u.Upload.File(dest, limit, mode)
}

func (u upload) Directory(dest, compress string, limit int64) (wire.DirectoryWriter, error) {
	return u.Upload.Directory(dest, compress, limit)
}

func (u upload) Publish(step int64) ([]dormouse.Artifact, []string, error) {
	list, err := u.Upload.Publish(step)
	return list, u.LeftOut, err
}

// farmhand triggers builds that end at once, each with the result that its
// scheduler is named after.
type farmhand struct {
	mu        sync.Mutex
	orders    []build.TriggerOrder
	made      map[string]int64 // by key
	results   map[int64]dormouse.Result
	cancelled []int64
	hold      chan struct{} // Await waits for it, unless it is nil
}

func (f *farmhand) Submit(_ context.Context, o build.TriggerOrder) ([]dormouse.BuildRequest, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.Scheduler == "nosuch" {
		return nil, dormouse.Errorf(dormouse.Invalid, "there is no scheduler nosuch")
	}
	f.orders = append(f.orders, o)
	if f.made == nil {
		f.made, f.results = map[string]int64{}, map[int64]dormouse.Result{}
	}
	id, ok := f.made[o.Key]
	if !ok {
		id = int64(100 + len(f.made))
		f.made[o.Key] = id
		var r dormouse.Result
		if err := r.UnmarshalText([]byte(o.Scheduler)); err != nil {
			return nil, err
		}
		f.results[id] = r
	}
	return []dormouse.BuildRequest{{ID: id, Builder: "child of " + o.Scheduler}}, nil
}

func (f *farmhand) Await(ctx context.Context, _ int64, ids []int64) ([]dormouse.BuildRequest, error) {
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []dormouse.BuildRequest
	for _, id := range ids {
		r := f.results[id]
		out = append(out, dormouse.BuildRequest{ID: id, Builder: "child", Result: &r})
	}
	return out, nil
}

func (f *farmhand) Cancel(ids []int64, _ string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancelled = append(f.cancelled, ids...)
}

// logText is all that a step wrote to one of its logs.
func (m *memory) logText(step int, name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out strings.Builder
	for _, l := range m.logs {
		if l.StepID == int64(step+1) && l.Name == name {
			for _, line := range m.lines[l.ID] {
				out.WriteString(line.Text + "\n")
			}
		}
	}
	return out.String()
}
