package artifact

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// Name gives what Publish has put into its places a second name, as Buildbot
// does: masterdest below the master's base directory, where a
// MasterShellCommand and a FileDownload look for it. It is a link to the same
// file, so that it takes no room. It takes the place of a file that was there,
// and of nothing that belongs to the master itself.
//
// It may be called again. An error says which file has no second name; all of
// them are kept with the build.
func (u *Upload) Name() error {
	base, err := os.OpenRoot(u.store.base)
	if err != nil {
		return diskError("the master's directory cannot be opened", err)
	}
	defer base.Close()
	dirs := map[string]bool{}
	for _, f := range u.files {
		name := filepath.FromSlash(f.dest)
		if u.store.isOwn(name) {
			return dormouse.Errorf(dormouse.Invalid, "masterdest: %s belongs to the master itself; the upload is kept with the build, as %s",
				f.dest, filepath.Join(dirOf(u.build), name))
		}
		dir := filepath.Dir(name)
		if err := base.MkdirAll(dir, 0o755); err != nil {
			return diskError(fmt.Sprintf("masterdest: a directory for %s cannot be made below %s", f.dest, u.store.base), err)
		}
		if err := u.link(base, filepath.Join(dirOf(u.build), name), name); err != nil {
			return diskError(fmt.Sprintf("masterdest: %s cannot be made below %s", f.dest, u.store.base), err)
		}
		dirs[dir] = true
	}
	for dir := range dirs {
		if err := syncDir(base, dir); err != nil {
			return diskError("the names of what was uploaded cannot be made durable", err)
		}
	}
	return nil
}

// link makes name another name of a file, or a copy of it where the file system
// has no such links.
func (u *Upload) link(base *os.Root, file, name string) error {
	// The link is made elsewhere and then renamed, so that there is a whole file at
	// every moment.
	beside := filepath.Join(folder, incoming, rand.Text())
	if err := base.MkdirAll(filepath.Dir(beside), 0o750); err != nil {
		return err
	}
	defer func() { _ = base.Remove(beside) }() // rename leaves it where both are the same file
	err := base.Link(file, beside)
	if err == nil {
		err = base.Rename(beside, name)
	}
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Another file system, or one without links.
	near := filepath.Join(filepath.Dir(name), "."+rand.Text())
	if err := copyFile(base, file, near); err != nil {
		return errors.Join(err, base.Remove(near))
	}
	return base.Rename(near, name)
}

func copyFile(base *os.Root, from, to string) error {
	in, err := base.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := base.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fi.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(fi.Mode().Perm()), out.Sync(), out.Close(), base.Chtimes(to, fi.ModTime(), fi.ModTime()))
}

// isOwn reports whether a name below the base directory leads to what belongs to
// the master itself.
func (s *Store) isOwn(name string) bool {
	for dir := name; dir != "."; dir = filepath.Dir(dir) { // the last ones need not be there
		to, err := filepath.EvalSymlinks(filepath.Join(s.base, dir))
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(s.base, to); err == nil && s.isPrivate(rel) {
			return true
		}
	}
	return s.isPrivate(name) || name == folder || strings.HasPrefix(name, folder+string(filepath.Separator))
}

// local makes a masterdest relative to the base directory: one that is absolute
// has to be below it.
func (s *Store) local(dest string) string {
	if !filepath.IsAbs(dest) {
		return dest
	}
	rel, err := filepath.Rel(s.base, dest)
	if err != nil || !filepath.IsLocal(rel) {
		return dest
	}
	return filepath.ToSlash(rel)
}

// Dir is where the files of a build are kept, absolute. It is made by the first
// upload.
func (s *Store) Dir(b dormouse.Build) string { return filepath.Join(s.base, dirOf(b)) }
