package command

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// result is what a command on files tells the master: an update of its own,
// if key is not empty, and an exit code.
type result struct {
	key   string
	value any
	err   error
	path  string // that err is about
}

// fileCommand is a command that looks at or changes files.
type fileCommand struct {
	name  string
	paths []string
	do    fileFunc
	// all goes on with the other paths after a failure.
	all bool
}

type fileFunc func(ctx context.Context, path string) (key string, value any, err error)

func parsePath(name string, do fileFunc) func(map[string]any) (command, error) {
	return func(args map[string]any) (command, error) {
		a := arguments{command: name, args: args}
		c := &fileCommand{name: name, paths: []string{a.path("path")}, do: do}
		return c, a.err()
	}
}

func parsePaths(name string, do fileFunc) func(map[string]any) (command, error) {
	return func(args map[string]any) (command, error) {
		a := arguments{command: name, args: args}
		c := &fileCommand{name: name, paths: a.paths("paths"), do: do, all: name == "rmdir"}
		return c, a.err()
	}
}

func (c *fileCommand) run(r *running) (failure string) {
	var results []result
	_ = r.work(limits{}, func(ctx context.Context, _ func()) { results = c.each(ctx) }) // the results say as much
	code := 0
	for _, res := range results {
		switch {
		case res.err != nil:
			code = errnoOf(res.err)
			r.header(c.name + ": " + reasonOf(res.err) + ": " + res.path)
		case res.key != "":
			r.out.Pair(res.key, res.value)
		}
	}
	r.out.Pair("rc", code)
	return ""
}

// each does what is to be done to each path.
func (c *fileCommand) each(ctx context.Context) []result {
	results := make([]result, 0, len(c.paths))
	for _, path := range c.paths {
		key, value, err := c.do(ctx, path)
		results = append(results, result{key: key, value: value, err: err, path: path})
		if err != nil && (!c.all || ctx.Err() != nil) {
			break
		}
	}
	return results
}

// errnoOf is the error's number, which Buildbot's workers give as the exit
// code; -1 where there is none.
func errnoOf(err error) int {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return int(errno)
	}
	return -1
}

// reasonOf is the error without the path that its text has already.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err.Error()
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// removeFile removes what is not a directory.
func removeFile(_ context.Context, path string) (string, any, error) {
	if err := syscall.Unlink(path); err != nil {
		return "", nil, &os.PathError{Op: "unlink", Path: path, Err: err}
	}
	return "", nil, nil
}

func makeDirectories(_ context.Context, path string) (string, any, error) {
	return "", nil, os.MkdirAll(path, 0o777)
}

func removeDirectories(ctx context.Context, path string) (string, any, error) {
	err := removeTree(ctx, filepath.Clean(path))
	if errors.Is(err, syscall.ENAMETOOLONG) {
		// Nested deeper than a path can say: RemoveAll goes down step by
		// step, but cannot be interrupted.
		err = os.RemoveAll(path)
	}
	return "", nil, err
}

// removeBatch is how many names of a directory are read at once, so that one
// with millions of files needs no memory for all of them.
const removeBatch = 1024

// removeTree removes a file or a directory with all in it, also directories
// whose permissions do not admit it. What is not there is removed already. It
// stops when ctx ends.
func removeTree(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := os.Remove(path)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	fi, statErr := os.Lstat(path)
	if statErr != nil || !fi.IsDir() {
		return err
	}
	if fi.Mode().Perm()&0o700 != 0o700 {
		if err := os.Chmod(path, fi.Mode().Perm()|0o700); err != nil {
			return err
		}
	}
	for {
		names, err := someNames(path)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			return os.Remove(path)
		}
		for _, name := range names {
			if err := removeTree(ctx, filepath.Join(path, name)); err != nil {
				return err
			}
		}
	}
}

func someNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(removeBatch)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// listDirectory gives the names in a directory. One that is not valid UTF-8,
// which the protocol cannot carry, is shown as nearly as possible.
func listDirectory(_ context.Context, path string) (string, any, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return "", nil, err
	}
	files := make([]any, len(names))
	for i, name := range names {
		files[i] = strings.ToValidUTF8(name, "\uFFFD")
	}
	return "files", files, nil
}

// statFile gives the ten numbers of Python's os.stat, following links.
func statFile(_ context.Context, path string) (string, any, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return "", nil, err
	}
	return "stat", statNumbers(fi), nil
}
