package worker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// masterFile is a file at a master's end, both ways.
type masterFile struct {
	bytes.Buffer
	closed   bool
	unpacked bool
	modified time.Time
	onRead   func(n int)
	reads    int
}

func (f *masterFile) Write(_ context.Context, p []byte) error {
	_, err := f.Buffer.Write(p)
	return err
}

func (f *masterFile) Close(context.Context) error {
	f.closed = true
	return nil
}

func (f *masterFile) SetTimes(_ context.Context, _, modified time.Time) error {
	f.modified = modified
	return nil
}

func (f *masterFile) Unpack(context.Context) error {
	f.unpacked = true
	return nil
}

func (f *masterFile) Read(_ context.Context, n int) ([]byte, error) {
	f.reads++
	if f.onRead != nil {
		f.onRead(f.reads)
	}
	return bytes.Clone(f.Next(n)), nil
}

// moveOver has w run a command that moves files to its end.
func moveOver(t *testing.T, w *wire.Worker, name string, args map[string]any, files wire.Transfer) *collector {
	t.Helper()
	c := &collector{}
	run, err := w.Start(t.Context(), wire.Command{Name: name, Args: args, Transfer: files}, c.on)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// lastOf is the text of an archive's last file.
func lastOf(archive io.Reader) (string, error) {
	var last []byte
	for r := tar.NewReader(archive); ; {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			return string(last), nil
		}
		if err == nil {
			last, err = io.ReadAll(r)
		}
		if err != nil {
			return "", err
		}
	}
}

func TestTransfersOverTheWire(t *testing.T) {
	m := newTestMaster(t)
	base := t.TempDir()
	m.agent(t, func(c *Config) { c.BaseDir = base })
	w := m.await(t)
	big := strings.Repeat("0123456789abcdef", 100_000)
	source := &masterFile{}
	source.WriteString(big)
	path := w.Path("b", "build", "big")
	c := moveOver(t, w, "download_file", map[string]any{"path": path, "blocksize": 100_000, "maxsize": nil, "mode": 0o600}, wire.Transfer{Reader: source})
	if got, err := os.ReadFile(path); err != nil || string(got) != big || !source.closed || c.pairs["rc"] != int64(0) {
		t.Fatalf("%d bytes, %v, %v", len(got), err, c.pairs)
	}
	stamp := time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	back := &masterFile{}
	c = moveOver(t, w, "upload_file", map[string]any{"path": path, "blocksize": 100_000, "maxsize": nil, "keepstamp": true}, wire.Transfer{File: back})
	if back.String() != big || !back.closed || !back.modified.Equal(stamp) || c.pairs["rc"] != int64(0) {
		t.Errorf("%d bytes, %v", back.Len(), c.pairs)
	}
	archive := &masterFile{}
	c = moveOver(t, w, "upload_directory", map[string]any{"path": w.Path("b"), "blocksize": 16384, "maxsize": nil, "compress": nil}, wire.Transfer{Directory: archive})
	if got, err := lastOf(&archive.Buffer); err != nil || got != big || !archive.unpacked || c.pairs["rc"] != int64(0) {
		t.Errorf("%d bytes, %v, %v", len(got), err, c.pairs)
	}
	c = moveOver(t, w, "glob", map[string]any{"path": w.Path("b", "**", "b*")}, wire.Transfer{})
	if diff := cmp.Diff([]any{w.Path("b", "build"), path}, c.pairs["files"]); diff != "" {
		t.Error(diff)
	}
}

// A connection that is lost within a download leaves nothing, and an agent that
// attaches again.
func TestDownloadLosesConnection(t *testing.T) {
	m := newTestMaster(t)
	base := t.TempDir()
	m.agent(t, func(c *Config) { c.BaseDir = base })
	w := m.await(t)
	source := &masterFile{}
	source.WriteString(strings.Repeat("x", 1_000_000))
	seen := make(chan []string, 1)
	source.onRead = func(n int) {
		if n == 5 {
			var names []string
			for name := range files(t, base) {
				names = append(names, filepath.Base(name))
			}
			seen <- names
			w.Close("gone")
		}
	}
	run, err := w.Start(t.Context(), wire.Command{
		Name: "download_file", Args: map[string]any{"path": w.Path("file"), "blocksize": 1000}, Transfer: wire.Transfer{Reader: source},
	}, (&collector{}).on)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(t.Context()); !errors.Is(err, wire.ErrConnectionLost) {
		t.Error(err)
	}
	names := strings.Join(<-seen, " ")
	if !strings.Contains(names, ".dormouse-download-") || strings.Contains(" "+names+" ", " file ") {
		t.Errorf("while it is received: %s", names)
	}
	w = m.await(t) // the commands of the last connection have ended by now
	if diff := cmp.Diff(map[string]string{"info": "directory"}, files(t, base)); diff != "" {
		t.Error(diff)
	}
	if c := moveOver(t, w, "rmfile", map[string]any{"path": w.Path("file")}, wire.Transfer{}); c.pairs["rc"] == int64(0) {
		t.Error("the file was there")
	}
}

// An upload is interrupted while the master takes a block.
func TestUploadInterruptedOverTheWire(t *testing.T) {
	m := newTestMaster(t)
	base := t.TempDir()
	m.agent(t, func(c *Config) { c.BaseDir = base })
	w := m.await(t)
	path := w.Path("file")
	write(t, path, strings.Repeat("x", 1_000_000))
	back := &slowFile{at: make(chan struct{}), goOn: make(chan struct{})}
	c := &collector{}
	run, err := w.Start(t.Context(), wire.Command{
		Name: "upload_file", Args: map[string]any{"path": path, "blocksize": 1000}, Transfer: wire.Transfer{File: back},
	}, c.on)
	if err != nil {
		t.Fatal(err)
	}
	<-back.at
	if err := run.Interrupt(t.Context(), "enough"); err != nil {
		t.Fatal(err)
	}
	close(back.goOn)
	if err := run.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.pairs["rc"] != int64(1) || !strings.Contains(c.text(dormouse.Header), "command interrupted (enough)") || back.closed || back.Len() == 1_000_000 {
		t.Errorf("%v, closed %t, %d bytes\n%s", c.pairs, back.closed, back.Len(), c.text(dormouse.Header))
	}
}

// slowFile takes its third block when it may.
type slowFile struct {
	masterFile
	at, goOn chan struct{}
	blocks   int
}

func (f *slowFile) Write(ctx context.Context, p []byte) error {
	if f.blocks++; f.blocks == 3 {
		close(f.at)
		<-f.goOn
	}
	return f.masterFile.Write(ctx, p)
}
