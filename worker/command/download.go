package command

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"syscall"

	"github.com/dormouse-ci/dormouse"
)

func parseDownload(args map[string]any) (command, error) {
	a := &arguments{command: "download_file", args: args}
	t := parseTransfer(a)
	var mode *os.FileMode
	if m, set := a.mode("mode"); set {
		mode = &m
	}
	t.move = func(ctx context.Context, r *running, t *transfer) error {
		err := t.download(ctx, r, mode)
		// The master's file is closed in any case, with a stock master, which
		// would else keep it open.
		if closeErr := r.files.ReadFileClose(r.ctx, r.id); closeErr != nil && r.ctx.Err() == nil {
			r.log.Warn("the master did not close what was downloaded", "error", closeErr)
		}
		return err
	}
	return t, a.err()
}

// temporaryPrefix begins the name of a file that is not whole yet.
const temporaryPrefix = ".dormouse-download-"

// download receives a file. It has its name only once it is whole and on the
// disk: whatever goes wrong, what was there before is left as it was.
func (t *transfer) download(ctx context.Context, r *running, mode *os.FileMode) (err error) {
	dir, name, err := openInside(r.base, t.path)
	if err != nil {
		return pathError("open for download", t.path, err)
	}
	defer dir.Close()
	mode, first, err := modeOf(dir, name, mode)
	if err != nil {
		return pathError("open for download", t.path, err)
	}
	temporary := temporaryPrefix + rand.Text()
	f, err := dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, first)
	if err != nil {
		return pathError("open for download", t.path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			_ = dir.Remove(temporary) // it is gone, or the disk is
		}
	}()
	if err := t.receive(ctx, r, f); err != nil {
		return err
	}
	if mode != nil {
		err = f.Chmod(*mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = dir.Rename(temporary, name)
	}
	if err != nil {
		return pathError("write", t.path, err)
	}
	return nil
}

// modeOf returns the mode that a file gets in the end, nil for the default, and
// the one it has until then. One that takes the place of another without a mode
// of its own keeps the other's, as it would if it were written over.
func modeOf(dir *os.Root, name string, mode *os.FileMode) (final *os.FileMode, first os.FileMode, err error) {
	fi, err := dir.Lstat(name)
	switch {
	case err == nil && fi.IsDir():
		return nil, 0, syscall.EISDIR
	case err == nil && mode == nil && fi.Mode().IsRegular():
		perm := fi.Mode().Perm()
		mode = &perm
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, 0, err
	}
	if mode != nil {
		return mode, 0o600, nil // it may be meant for few
	}
	return nil, 0o666, nil
}

// receive writes what the master sends to f.
func (t *transfer) receive(ctx context.Context, r *running, f *os.File) error {
	for received := int64(0); ; {
		n := t.allowed(t.block, received)
		over := n == 0
		if over {
			n = 1 // is there more?
		}
		p, err := r.files.ReadFile(ctx, r.id, n)
		switch {
		case err != nil:
			return err
		case len(p) == 0:
			return nil
		case over:
			return t.tooLarge("nothing of it is kept")
		case len(p) > n:
			return dormouse.Errorf(dormouse.Internal, "the master sent %d bytes of %s where %d were asked for", len(p), t.path, n)
		}
		if _, err := f.Write(p); err != nil {
			return pathError("write", t.path, err)
		}
		received += int64(len(p))
	}
}
