package artifact

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/dormouse-ci/dormouse"
)

const (
	folder   = "artifacts"
	incoming = ".incoming"
)

// Store is the files below a master's base directory. Its methods may be called
// from any goroutine.
type Store struct {
	base string // absolute
	// private are paths below base that no step may read.
	private []string
}

// Open makes the store of a base directory, and removes what a master before
// this one has left unfinished. private are files and directories that
// [Store.Read] refuses: the database, the secrets.
func Open(base string, private ...string) (*Store, error) {
	base, err := realPath(base)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Invalid, "the base directory: %w", err)
	}
	s := &Store{base: base}
	for _, p := range private {
		if p == "" {
			continue
		}
		p, err := realPath(p)
		if err != nil {
			return nil, dormouse.Errorf(dormouse.Invalid, "a path that is to stay private: %w", err)
		}
		if rel, err := filepath.Rel(base, p); err == nil && filepath.IsLocal(rel) {
			s.private = append(s.private, rel)
		}
	}
	if err := os.RemoveAll(filepath.Join(base, folder, incoming)); err != nil {
		slog.Warn("uploads that an earlier master left unfinished cannot be removed", "error", err)
	}
	return s, nil
}

// realPath is an absolute path without links in its directories, as far as they are
// there.
func realPath(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	if to, err := filepath.EvalSymlinks(abs); err == nil {
		return to, nil
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		return filepath.Join(dir, filepath.Base(abs)), nil
	}
	return abs, nil
}

// BaseDir is what paths on the master are relative to.
func (s *Store) BaseDir() string { return s.base }

// dirOf is a build's directory, below the base directory. Builders' names may
// hold anything; what has a meaning to a file system is escaped.
func dirOf(b dormouse.Build) string {
	return filepath.Join(folder, escape(b.Builder), strconv.Itoa(b.Number))
}

// escape makes one element of a path of a name, another one for each name.
func escape(name string) string {
	var out strings.Builder
	for i := range len(name) {
		c := name[i]
		plain := c == '-' || c == '_' || c == '.' && i > 0 || c == ' ' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
		if plain {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

// Open opens one of a build's artifacts.
func (s *Store) Open(b dormouse.Build, a dormouse.Artifact) (*os.File, error) {
	if !filepath.IsLocal(a.Path) {
		return nil, dormouse.Errorf(dormouse.Invalid, "%q is not an artifact's path", a.Path)
	}
	f, err := s.open(filepath.Join(dirOf(b), filepath.FromSlash(a.Path)), a.Path)
	if err != nil {
		return nil, err
	}
	// A master that ended at the wrong moment has put another in its place.
	if fi, err := f.Stat(); err != nil || fi.Size() != a.Bytes {
		f.Close()
		return nil, dormouse.Errorf(dormouse.NotFound, "the file %s on the master is not the one that was kept", a.Path)
	}
	return f, nil
}

// Read opens a file for a step that copies it to a worker. Path is relative to
// the base directory, or below it.
func (s *Store) Read(name string) (*os.File, error) {
	rel := filepath.Clean(name)
	if filepath.IsAbs(rel) {
		var err error
		if rel, err = filepath.Rel(s.base, rel); err != nil {
			rel = ".."
		}
	}
	if !filepath.IsLocal(rel) {
		return nil, dormouse.Errorf(dormouse.Invalid, "%s is outside of the master's directory %s: copy it there", name, s.base)
	}
	// A link below the base directory may lead to what is private.
	target := rel
	if to, err := filepath.EvalSymlinks(filepath.Join(s.base, rel)); err == nil {
		if target, err = filepath.Rel(s.base, to); err != nil {
			target = rel
		}
	}
	if s.isPrivate(rel) || s.isPrivate(target) {
		return nil, dormouse.Errorf(dormouse.Invalid, "%s belongs to the master itself and is not given to workers", name)
	}
	return s.open(rel, name)
}

func (s *Store) isPrivate(rel string) bool {
	for _, p := range s.private {
		if rel == p || strings.HasPrefix(rel, p+string(filepath.Separator)) || strings.HasPrefix(rel, p+"-") {
			return true
		}
	}
	return false
}

// open opens a regular file below the base directory, following no link out of
// it.
func (s *Store) open(rel, shown string) (*os.File, error) {
	root, err := os.OpenRoot(s.base)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Unavailable, "the master's directory cannot be opened: %w", err)
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for its writer
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, dormouse.Errorf(dormouse.NotFound, "there is no file %s on the master", shown)
	case err != nil:
		return nil, dormouse.Errorf(dormouse.Invalid, "%s cannot be opened on the master: %w", shown, err)
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, dormouse.Errorf(dormouse.Invalid, "%s is not a file", shown)
	}
	return f, nil
}

// Begin makes a place for an upload of a build. It is to be ended with Discard.
func (s *Store) Begin(b dormouse.Build) (*Upload, error) {
	name := filepath.Join(folder, incoming, rand.Text())
	base, err := os.OpenRoot(s.base)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Unavailable, "the master's directory cannot be opened: %w", err)
	}
	defer base.Close()
	// Builds' files may be private: others on the master's machine need not see
	// them.
	if err := base.MkdirAll(name, 0o750); err != nil {
		return nil, diskError("a place for the upload cannot be made on the master", err)
	}
	root, err := base.OpenRoot(name)
	if err != nil {
		return nil, diskError("a place for the upload cannot be made on the master", err)
	}
	once := func(try func() error) error { return try() }
	return &Upload{store: s, build: b, name: name, root: root, hold: once}, nil
}

// diskError words what a disk refuses.
func diskError(what string, err error) error {
	code := dormouse.Invalid
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EROFS) {
		code = dormouse.Unavailable // not the build's fault
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		what = "the master's disk is full: " + what
	}
	return dormouse.Errorf(code, "%s: %w", what, err)
}

// cleanDest is where an upload goes, below the build's artifacts.
func (s *Store) cleanDest(dest string) (string, error) {
	clean := path.Clean(strings.ReplaceAll(s.local(dest), "\\", "/"))
	if dest == "" || strings.HasPrefix(dest, "~") || strings.ContainsRune(dest, 0) || !filepath.IsLocal(clean) {
		return "", dormouse.Errorf(dormouse.Invalid,
			"masterdest %q does not name a place below the master's base directory: upload to one, and copy from there with a MasterShellCommand", dest)
	}
	return visible(clean), nil
}
