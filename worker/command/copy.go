package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// copyTimeout is Buildbot's: how long a copy may make no progress.
const copyTimeout = 120 * time.Second

// copyStep is how much of a large file is copied between looks at the clock.
const copyStep = 4 << 20

// maxLeftOut bounds how many things that cannot be copied the log names.
const maxLeftOut = 10

// copyCommand copies a tree: links as links, with modes, times and, where that
// is allowed, owners. What is at the destination already is merged with it.
type copyCommand struct {
	from, to string
	limits
}

func parseCopy(args map[string]any) (command, error) {
	a := arguments{command: "cpdir", args: args}
	c := &copyCommand{from: a.path("from_path"), to: a.path("to_path")}
	c.timeout = copyTimeout
	if _, named := args["timeout"]; named {
		c.timeout, _ = a.seconds("timeout") // None is never
	}
	c.maxTime, _ = a.seconds("maxTime")
	a.bool("logEnviron", true) // no process is run: there is no environment to log
	return c, a.err()
}

func (c *copyCommand) run(r *running) (failure string) {
	said := fmt.Sprintf("copying %s to %s", c.from, c.to)
	if c.timeout > 0 {
		said += fmt.Sprintf(" (timeout %s)", seconds(c.timeout))
	}
	if c.maxTime > 0 {
		said += fmt.Sprintf(" (maxTime %s)", seconds(c.maxTime))
	}
	r.header(said)
	var err error
	var leftOut []string
	stop := r.work(c.limits, func(ctx context.Context, progress func()) {
		leftOut, err = copyTree(ctx, r.base, c.from, c.to, progress)
	})
	for _, path := range leftOut[:min(len(leftOut), maxLeftOut)] {
		r.header("not copied, as it is neither a file, a directory nor a link: " + path)
	}
	code := 0
	switch {
	case stop != nil:
		code = -1
		if stop.reason != "" {
			r.out.Pair("failure_reason", stop.reason)
		}
	case err != nil:
		code = 1
		r.line(dormouse.Stderr, err.Error())
	}
	r.out.Pair("rc", code)
	return ""
}

// copyTree copies from to to, which has to be in base. leftOut are things that
// only mean something where they are: sockets, pipes and devices.
func copyTree(ctx context.Context, base, from, to string, progress func()) (leftOut []string, err error) {
	from, to = filepath.Clean(from), filepath.Clean(to)
	fi, err := os.Lstat(from)
	if err != nil {
		return nil, pathError("copy", from, err)
	}
	target, name, err := openInside(base, to)
	if err != nil {
		return nil, pathError("copy to", to, err)
	}
	defer target.Close()
	if err := notWithin(fi, to); err != nil {
		return nil, pathError("copy to", to, err)
	}
	source, err := os.OpenRoot(filepath.Dir(from))
	if err != nil {
		return nil, pathError("copy", from, err)
	}
	defer source.Close()
	c := copier{ctx: ctx, source: source, target: target, progress: progress}
	first := filepath.Base(from)
	// Both sides are named by what is below from and to.
	c.at = func(p string) string {
		rel, _ := filepath.Rel(first, p) // p is in first, always
		return filepath.Join(name, rel)
	}
	err = c.enter(first, fi)
	if err == nil && fi.IsDir() {
		if err = walkTree(ctx, source, first, c.enter, c.leave); err == nil {
			err = c.leave(first, fi)
		}
	}
	return c.leftOut, err
}

// notWithin refuses to copy a directory into itself, which would not end.
func notWithin(from os.FileInfo, to string) error {
	for p := to; ; p = filepath.Dir(p) {
		if fi, err := os.Stat(p); err == nil && os.SameFile(fi, from) {
			return errors.New("it is the directory that is copied, or in it")
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

// copier copies one tree.
type copier struct {
	ctx            context.Context
	source, target *os.Root
	at             func(string) string // the target's name of a source's
	progress       func()
	leftOut        []string
}

// enter copies one thing; of a directory, itself.
func (c *copier) enter(name string, fi os.FileInfo) error {
	c.progress()
	var err error
	to := c.at(name)
	switch mode := fi.Mode(); {
	case fi.IsDir():
		err = c.directory(to)
	case mode&os.ModeSymlink != 0:
		err = c.link(name, to)
	case mode.IsRegular():
		err = c.file(name, to)
	case len(c.leftOut) < maxLeftOut:
		c.leftOut = append(c.leftOut, filepath.Join(c.source.Name(), name))
	}
	if err != nil {
		return c.failed(name, err)
	}
	return nil
}

// failed says where it failed: at the target, unless it is said already.
func (c *copier) failed(name string, err error) error {
	if said, ok := errors.AsType[*reasonError](err); ok {
		return said
	}
	return pathError("copy to", filepath.Join(c.target.Name(), c.at(name)), err)
}

// leave gives a directory its mode and times, once nothing more is made in it.
func (c *copier) leave(name string, fi os.FileInfo) error {
	to := c.at(name)
	mode := c.own(to, fi)
	err := c.target.Chmod(to, mode)
	if err == nil {
		err = c.target.Chtimes(to, accessTime(fi), fi.ModTime())
	}
	if err != nil {
		return c.failed(name, err)
	}
	return nil
}

func (c *copier) directory(to string) error {
	err := c.target.Mkdir(to, 0o700)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	fi, err := c.target.Lstat(to)
	if err == nil && !fi.IsDir() {
		err = syscall.ENOTDIR
	}
	if err == nil && fi.Mode().Perm()&0o700 != 0o700 {
		err = c.target.Chmod(to, 0o700)
	}
	return err
}

// clear removes what is in a file's place.
func (c *copier) clear(to string) error {
	fi, err := c.target.Lstat(to)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.IsDir():
		return syscall.EISDIR
	}
	return c.target.Remove(to)
}

// link copies a link as it is, wherever it leads. Its times are its own: they
// cannot be set within a root.
func (c *copier) link(name, to string) error {
	leads, err := c.source.Readlink(name)
	if err == nil {
		err = c.clear(to)
	}
	if err == nil {
		err = c.target.Symlink(leads, to)
	}
	return err
}

func (c *copier) file(name, to string) error {
	in, fi, err := openRegular(c.source.OpenFile, name)
	if err != nil {
		return pathError("copy", filepath.Join(c.source.Name(), name), err)
	}
	defer in.Close()
	if err := c.clear(to); err != nil {
		return err
	}
	out, err := c.target.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = c.content(out, in)
	mode := c.own(to, fi)
	if err == nil {
		err = out.Chmod(mode)
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		err = c.target.Chtimes(to, accessTime(fi), fi.ModTime())
	}
	return err
}

// content copies in steps, within the kernel where it can.
func (c *copier) content(out, in *os.File) error {
	for {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		_, err := io.CopyN(out, in, copyStep)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		c.progress()
	}
}

// own gives what was copied its owner, which only root may, and returns the
// mode that it may have then: what runs as its owner must not run as another.
func (c *copier) own(to string, fi os.FileInfo) os.FileMode {
	mode := fi.Mode()
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		if c.target.Lchown(to, int(st.Uid), int(st.Gid)) != nil {
			mode &^= os.ModeSetuid | os.ModeSetgid
		}
	}
	return mode
}
