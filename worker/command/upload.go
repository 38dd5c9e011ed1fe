package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/dormouse-ci/dormouse/wire"
)

func parseUpload(args map[string]any) (command, error) {
	a := &arguments{command: "upload_file", args: args}
	t := parseTransfer(a)
	keep := a.bool("keepstamp", false)
	t.header = "sending " + t.path
	t.move = func(ctx context.Context, r *running, t *transfer) error { return t.upload(ctx, r, keep) }
	return t, a.err()
}

// upload sends a file. The master is told that the file is closed only where it
// has all that it is meant to have: a stock one then discards the rest, where a
// stock worker would leave it with a piece that looks whole.
func (t *transfer) upload(ctx context.Context, r *running, keep bool) error {
	f, fi, err := openRegular(os.OpenFile, t.path)
	if err != nil {
		return pathError("open for upload", t.path, err)
	}
	defer f.Close()
	accessed, modified := accessTime(fi), fi.ModTime() // reading changes the first
	cut, err := t.send(ctx, f, func(p []byte) error { return r.files.UploadWrite(ctx, r.id, p) })
	if err != nil {
		return err
	}
	if err := r.files.UploadClose(ctx, r.id); err != nil {
		return err
	}
	if keep {
		err := r.files.UploadTimes(ctx, r.id, accessed, modified)
		if _, refused := errors.AsType[*wire.RemoteError](err); refused {
			// Buildbot 3.7's master refuses them always, by a mistake of its
			// own. It has the file, so that is no reason to fail.
			t.note = fmt.Sprintf("the master has %s, but did not keep its times: %v", t.path, err)
		} else if err != nil {
			return err
		}
	}
	if cut {
		return t.tooLarge("the rest is cut off")
	}
	return nil
}

// send sends what is in from, in blocks. cut says that there was more than the
// limit allows.
func (t *transfer) send(ctx context.Context, from io.Reader, write func([]byte) error) (cut bool, err error) {
	block := make([]byte, t.block)
	for sent := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := io.ReadFull(from, block)
		part := block[:t.allowed(n, sent)]
		if len(part) > 0 {
			if err := write(part); err != nil {
				return false, err
			}
			sent += int64(len(part))
		}
		switch {
		case len(part) < n:
			return true, nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return false, nil
		case err != nil:
			return false, pathError("read", t.path, err)
		}
	}
}

var errNotRegular = errors.New("it is not a regular file")

// openRegular opens a regular file to read it. It does not wait for the other
// end of a pipe, nor wind a tape.
func openRegular(open func(string, int, os.FileMode) (*os.File, error), path string) (*os.File, os.FileInfo, error) {
	f, err := open(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && fi.IsDir() {
		err = syscall.EISDIR
	} else if err == nil && !fi.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, fi, nil
}
