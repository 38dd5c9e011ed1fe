package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Upload is files of a build that are on the way.
type Upload struct {
	// mu is held while a file is begun, written or ended: Discard may come from
	// whoever does not wait for the worker any more.
	mu    sync.Mutex
	store *Store
	build dormouse.Build
	name  string // of its directory, below the base directory
	root  *os.Root
	files []*File
	links []link
	dirs  []*Directory
	// published are below the base directory.
	published []string
	bytes     int64
	// hold repeats what finds no room on the disk; over is set by Discard, so that it
	// ends.
	hold func(try func() error) error
	over atomic.Bool
	// LeftOut are links in a directory that have no file to stand for, with why.
	LeftOut []string
}

// Hold has what finds no room on the disk repeated by hold: a call of Write, or
// Publish, then lasts until hold gives up, which it has to where try's error is
// not [dormouse.Unavailable]. It comes before anything else is done.
func (u *Upload) Hold(hold func(try func() error) error) { u.hold = hold }

// try does something on the disk as often as it takes.
func (u *Upload) try(do func() error) error {
	return u.hold(func() error {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.over.Load() || u.root == nil {
			return errGivenUp
		}
		return do()
	})
}

// File is one file that is received. Write and Close are to be called in turn.
type File struct {
	up    *Upload
	dest  string // below the build's artifacts
	f     *os.File
	sum   hash.Hash
	bytes int64
	limit int64
	mode  fs.FileMode
	done  bool
}

// MaxFiles is how many files one upload may have: far above any documentation or
// coverage report, and a table that a page can still show.
const MaxFiles = 100_000

// usualMode is a file's where nothing else is said.
const usualMode = 0o644

// File begins a file that goes to dest. limit is how many bytes it may have; 0 is
// no limit. mode is its permissions on the master; 0 is 0644.
func (u *Upload) File(dest string, limit int64, mode fs.FileMode) (*File, error) {
	dest, err := u.store.cleanDest(dest)
	if err != nil {
		return nil, err
	}
	if mode == 0 {
		mode = usualMode
	}
	return u.file(dest, limit, mode.Perm())
}

func (u *Upload) file(dest string, limit int64, mode fs.FileMode) (f *File, err error) {
	err = u.try(func() (err error) {
		f, err = u.open(dest, limit, mode)
		return err
	})
	return f, err
}

func (u *Upload) open(dest string, limit int64, mode fs.FileMode) (*File, error) {
	if len(u.files) >= MaxFiles {
		return nil, dormouse.Errorf(dormouse.Invalid, "the upload has more than %d files: pack them into one", MaxFiles)
	}
	at := filepath.FromSlash(dest)
	if dir := filepath.Dir(at); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return nil, diskError(fmt.Sprintf("a directory for %s cannot be made", dest), err)
		}
	}
	f, err := u.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, dormouse.Errorf(dormouse.Invalid, "%s comes twice in the upload", dest)
	}
	if err != nil {
		return nil, diskError(fmt.Sprintf("%s cannot be written on the master", dest), err)
	}
	out := &File{up: u, dest: dest, f: f, sum: sha256.New(), limit: limit, mode: mode}
	u.files = append(u.files, out)
	return out, nil
}

// Write takes the next bytes.
func (f *File) Write(_ context.Context, p []byte) error {
	if f.limit > 0 && f.bytes+int64(len(p)) > f.limit {
		return dormouse.Errorf(dormouse.Invalid, "%s is larger than maxsize, which is %d bytes", f.dest, f.limit)
	}
	return f.up.try(func() error {
		n, err := f.f.Write(p)
		f.bytes += int64(n)
		f.up.bytes += int64(n)
		f.sum.Write(p[:n])
		p = p[n:]
		if err != nil {
			return diskError(fmt.Sprintf("%s cannot be written on the master", f.dest), err)
		}
		return nil
	})
}

// Close comes after the last byte.
func (f *File) Close(context.Context) error {
	f.up.mu.Lock()
	defer f.up.mu.Unlock()
	if f.done {
		return nil
	}
	f.done = true
	err := f.f.Chmod(f.mode)
	if err == nil {
		err = f.f.Sync()
	}
	if closed := f.f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return diskError(fmt.Sprintf("%s cannot be written on the master", f.dest), err)
	}
	return nil
}

// SetTimes gives the file its times on the worker.
func (f *File) SetTimes(_ context.Context, accessed, modified time.Time) error {
	return f.up.root.Chtimes(filepath.FromSlash(f.dest), accessed, modified)
}

// Bytes is how much has been received, of all files.
func (u *Upload) Bytes() int64 { return u.bytes }

// Publish puts all files into their places, durably, and returns them for their
// rows to be stored.
func (u *Upload) Publish(stepID int64) ([]dormouse.Artifact, error) {
	for _, d := range u.dirs {
		if !d.over.Load() {
			return nil, dormouse.Errorf(dormouse.Invalid, "a directory was not received to its end")
		}
	}
	if err := u.try(u.resolve); err != nil {
		return nil, err
	}
	base, err := os.OpenRoot(u.store.base)
	if err != nil {
		return nil, diskError("the master's directory cannot be opened", err)
	}
	defer base.Close()
	out := make([]dormouse.Artifact, 0, len(u.files))
	now := time.Now()
	dirs := map[string]bool{}
	for _, f := range u.files {
		if !f.done {
			return nil, dormouse.Errorf(dormouse.Invalid, "%s was not received to its end", f.dest)
		}
		to := filepath.Join(dirOf(u.build), filepath.FromSlash(f.dest))
		err := u.try(func() error {
			err := base.MkdirAll(filepath.Dir(to), 0o755)
			if err == nil {
				err = base.Rename(filepath.Join(u.name, filepath.FromSlash(f.dest)), to)
			}
			if err != nil {
				return diskError(fmt.Sprintf("%s cannot be kept", f.dest), err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		u.published = append(u.published, to)
		for dir := filepath.Dir(to); dir != "." && !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
		out = append(out, dormouse.Artifact{
			BuildID: u.build.ID, StepID: stepID, Path: f.dest, Bytes: f.bytes,
			SHA256: hex.EncodeToString(f.sum.Sum(nil)), CreatedAt: now,
		})
	}
	for dir := range dirs {
		if err := syncDir(base, dir); err != nil {
			return nil, diskError("what was uploaded cannot be made durable", err)
		}
	}
	slices.SortFunc(out, func(a, b dormouse.Artifact) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// Withdraw removes what was published: a file that nobody has noted would be there
// for ever, and one that took the place of another is not what was noted.
func (u *Upload) Withdraw() {
	base, err := os.OpenRoot(u.store.base)
	if err != nil {
		return // the disk is gone, and they with it
	}
	defer base.Close()
	for _, name := range u.published {
		_ = base.Remove(name) // who looks for it finds that it is not what was noted
	}
	u.published = nil
}

func syncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Discard removes what was not published. It may be called twice.
func (u *Upload) Discard() {
	u.over.Store(true)
	for _, d := range u.dirs {
		_ = d.end(errGivenUp)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.root == nil {
		return
	}
	for _, f := range u.files {
		if !f.done {
			f.f.Close()
		}
	}
	u.root.Close()
	u.root = nil
	// A failure leaves files in .incoming, which the next start removes.
	_ = os.RemoveAll(filepath.Join(u.store.base, u.name))
}

// link is a symbolic link in a directory that is received.
type link struct {
	at     string // below the build's artifacts
	target string // the same
	dir    string // that was uploaded
	said   string // as the archive has it
}

// maxChain is how many links may lead from one to the next, as for Linux.
const maxChain = 40

// resolve makes files of the links that lead to files.
func (u *Upload) resolve() error {
	byDest := make(map[string]*File, len(u.files))
	for _, f := range u.files {
		byDest[f.dest] = f
	}
	links := make(map[string]string, len(u.links))
	for _, l := range u.links {
		links[l.at] = l.target
	}
	for len(u.links) > 0 { // it goes on where a full disk has stopped it
		l := u.links[0]
		target := l.target
		for range maxChain {
			next, ok := links[target]
			if !ok {
				break
			}
			target = next
		}
		f, ok := byDest[target]
		if !ok {
			u.LeftOut = append(u.LeftOut, fmt.Sprintf("%s, a link to %s, which is no file of the upload", l.at, l.said))
			u.links = u.links[1:]
			continue
		}
		if dir := filepath.Dir(filepath.FromSlash(l.at)); dir != "." {
			if err := u.root.MkdirAll(dir, 0o755); err != nil {
				return diskError(fmt.Sprintf("a directory for %s cannot be made", l.at), err)
			}
		}
		if err := u.root.Link(filepath.FromSlash(f.dest), filepath.FromSlash(l.at)); err != nil {
			return diskError(fmt.Sprintf("%s cannot be kept", l.at), err)
		}
		same := *f
		same.dest = l.at
		u.files, u.links = append(u.files, &same), u.links[1:]
	}
	return nil
}

// inside resolves the target of a link at a path, and reports whether it stays
// in the directory that is uploaded.
func inside(dir, at, target string) (string, bool) {
	if path.IsAbs(target) {
		return "", false
	}
	rel := strings.TrimPrefix(at, dir+"/")
	if dir == "." {
		rel = at
	}
	to := path.Join(path.Dir(rel), target)
	if !filepath.IsLocal(to) {
		return "", false
	}
	return path.Join(dir, to), true
}
