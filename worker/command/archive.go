package command

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

func parseDirectoryUpload(args map[string]any) (command, error) {
	a := &arguments{command: "upload_directory", args: args}
	t := parseTransfer(a)
	compress := a.text("compress")
	switch compress {
	case "", "gz", "bz2":
	default:
		a.fail("compress", `is none of None, "gz", "bz2"`)
	}
	t.header = "sending " + t.path
	t.move = func(ctx context.Context, r *running, t *transfer) error { return t.uploadDirectory(ctx, r, compress) }
	return t, a.err()
}

// uploadDirectory sends a directory as a tar archive, made while it is sent.
// One that is not whole is not unpacked: a part of a directory looks like a
// directory.
//
//	tree ─▶ tar ─▶ (gzip, bzip2) ─▶ pipe ─▶ blocks ─▶ master
func (t *transfer) uploadDirectory(ctx context.Context, r *running, compress string) error {
	root, err := os.OpenRoot(t.path)
	if err != nil {
		return pathError("open for upload", t.path, err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(ctx)
	pr, pw := io.Pipe()
	var archiving sync.WaitGroup
	defer archiving.Wait()
	defer cancel()
	defer pr.Close()
	archiving.Go(func() { pw.CloseWithError(writeArchive(ctx, pw, root, t.path, compress, r.environ)) })
	cut, err := t.send(ctx, pr, func(p []byte) error { return r.files.DirectoryWrite(ctx, r.id, p) })
	if err != nil {
		// What went wrong with the archive has its path already.
		if e, ok := errors.AsType[*archiveError](err); ok {
			return e.err
		}
		return err
	}
	if cut {
		return t.tooLarge("the archive is not unpacked")
	}
	return r.files.DirectoryUnpack(ctx, r.id)
}

// archiveError is an error of reading a tree, as opposed to one of sending it.
type archiveError struct{ err error }

func (e *archiveError) Error() string { return e.err.Error() }
func (e *archiveError) Unwrap() error { return e.err }

// writeArchive writes the archive of a tree.
func writeArchive(ctx context.Context, to io.Writer, root *os.Root, path, compress string, environ []string) (err error) {
	w, err := compressor(ctx, to, compress, environ)
	if err != nil {
		return &archiveError{err}
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	tw := tar.NewWriter(w)
	add := func(name string, fi os.FileInfo) error {
		if err := addToArchive(ctx, tw, root, name, fi); err != nil {
			return &archiveError{pathError("send", filepath.Join(path, name), err)}
		}
		return nil
	}
	fi, err := root.Stat(".")
	if err != nil {
		return &archiveError{pathError("send", path, err)}
	}
	if err := add(".", fi); err != nil { // an empty directory is one, too
		return err
	}
	if err := walkTree(ctx, root, ".", add, nil); err != nil {
		return &archiveError{err}
	}
	return tw.Close()
}

// addToArchive adds one thing. Names are carried in whatever bytes they have,
// in PAX records where they are not ASCII. Sockets mean nothing elsewhere, and
// are left out.
func addToArchive(ctx context.Context, tw *tar.Writer, root *os.Root, name string, fi os.FileInfo) error {
	if fi.Mode()&os.ModeSocket != 0 {
		return nil
	}
	var link string
	var err error
	var f *os.File
	switch {
	case fi.Mode()&os.ModeSymlink != 0:
		if link, err = root.Readlink(name); err != nil {
			return err
		}
	case fi.Mode().IsRegular():
		if f, fi, err = openRegular(root.OpenFile, name); err != nil {
			return err
		}
		defer f.Close()
	}
	h, err := tar.FileInfoHeader(fi, link)
	if err != nil {
		return err
	}
	h.Name = name
	if fi.IsDir() {
		h.Name += "/"
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if f == nil {
		return nil
	}
	// A file that grows, as logs do, is sent as long as it was.
	n, err := io.CopyN(tw, &contextReader{ctx, f}, h.Size)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("it had %d bytes, and was cut to %d while it was read", h.Size, n)
	}
	return err
}

// contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// walkTree visits all that is in a directory of root, in the order of the
// names. enter comes before what is in a directory, leave, if not nil, after.
// Links are not followed. What disappears while it is on is passed over.
func walkTree(ctx context.Context, root *os.Root, dir string, enter, leave func(name string, fi os.FileInfo) error) error {
	names, err := namesIn(root, dir)
	if err != nil {
		return pathError("read", filepath.Join(root.Name(), dir), err)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		name = filepath.Join(dir, name)
		fi, err := root.Lstat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return pathError("read", filepath.Join(root.Name(), name), err)
		}
		err = enter(name, fi)
		if err == nil && fi.IsDir() {
			if err = walkTree(ctx, root, name, enter, leave); err == nil && leave != nil {
				err = leave(name, fi)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// namesIn returns the sorted names in a directory of root. The directory is not
// kept open while what is in it is visited: trees are deeper than a process may
// have files.
func namesIn(root *os.Root, dir string) ([]string, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// compressor compresses what is written to it. Closing it waits for the end.
func compressor(ctx context.Context, to io.Writer, kind string, environ []string) (io.WriteCloser, error) {
	switch kind {
	case "gz":
		return gzip.NewWriter(to), nil
	case "bz2":
		return startBzip2(ctx, to, environ)
	default:
		return uncompressed{to}, nil
	}
}

type uncompressed struct{ io.Writer }

func (uncompressed) Close() error { return nil }

// bzip2Process is the system's program: Go's library reads its format only.
type bzip2Process struct {
	io.WriteCloser
	cmd *exec.Cmd
}

// bzip2Patience is how long a killed bzip2 may take to end.
const bzip2Patience = 5 * time.Second

func startBzip2(ctx context.Context, to io.Writer, environ []string) (io.WriteCloser, error) {
	path, err := findExecutable("bzip2", "/", environ)
	if err != nil {
		return nil, fmt.Errorf("compress is bz2, and this machine has no bzip2 (%w): install it, or use gz", err)
	}
	cmd := exec.CommandContext(ctx, path, "-c")
	cmd.Env, cmd.Stdout, cmd.WaitDelay = environ, to, bzip2Patience
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", path, err)
	}
	return &bzip2Process{in, cmd}, nil
}

func (b *bzip2Process) Close() error {
	err := b.WriteCloser.Close()
	if waitErr := b.cmd.Wait(); waitErr != nil {
		return &archiveError{fmt.Errorf("bzip2 failed: %w", waitErr)}
	}
	return err
}
