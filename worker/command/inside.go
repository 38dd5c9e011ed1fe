package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// openInside opens the directory that holds path, which has to be in base, and
// makes it where it is missing. name is path's in it.
//
// What a master sends goes below the worker's directory and nowhere else, by
// whatever links a build has planted there. Links on the way are resolved and
// looked at first, for the sake of the error and of those that stay inside;
// then every step is taken within an [os.Root], which does not leave base even
// where a build changes the links meanwhile.
func openInside(base, path string) (dir *os.Root, name string, err error) {
	path = filepath.Clean(path)
	realBase, err := filepath.EvalSymlinks(base)
	if err != nil {
		return nil, "", fmt.Errorf("cannot open the worker's base directory: %w", err)
	}
	real, err := resolve(filepath.Dir(path))
	if err != nil {
		return nil, "", err
	}
	rel, err := filepath.Rel(realBase, real)
	if err != nil || !filepath.IsLocal(rel) {
		if rel, err := filepath.Rel(filepath.Clean(base), path); err == nil && filepath.IsLocal(rel) && rel != "." {
			return nil, "", fmt.Errorf("a symbolic link on the way leads to %s, out of the worker's base directory %s", real, base)
		}
		return nil, "", fmt.Errorf("it is not in the worker's base directory %s", base)
	}
	root, err := os.OpenRoot(realBase)
	if err != nil {
		return nil, "", err
	}
	defer root.Close()
	if err := root.MkdirAll(rel, 0o777); err != nil {
		if errors.Is(err, os.ErrExist) {
			err = fmt.Errorf("%s is not a directory", real)
		}
		return nil, "", err
	}
	if dir, err = root.OpenRoot(rel); err != nil {
		return nil, "", err
	}
	return dir, filepath.Base(path), nil
}

// resolve is the real path of one that may not be there yet, or only in part.
func resolve(path string) (string, error) {
	rest := ""
	for p := path; ; p = filepath.Dir(p) {
		real, err := filepath.EvalSymlinks(p)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) || strings.TrimLeft(p, ".") == "" {
			return "", err
		}
		if _, err := os.Lstat(p); err == nil {
			return "", fmt.Errorf("the symbolic link %s leads nowhere", p)
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
}
