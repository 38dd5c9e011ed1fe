// Package private reads files that hold secrets.
package private

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// maxSize holds any key or token; the limit keeps a mistaken path (a device, an
// image) from being read whole.
const maxSize = 64 << 10

// Read reads a file which only its owner may read. One that others may read is
// refused, with how to mend it: what is in it is no secret any more. Pipes have
// no such rule. The error never holds what is in the file.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of what is read, whatever takes its name meanwhile
	if err != nil {
		return nil, err
	}
	if err := check(path, info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("%s is too large for a secret: it has more than %d bytes", path, maxSize)
	}
	return data, nil
}

func check(path string, info os.FileInfo) error {
	mode := info.Mode()
	if !mode.IsRegular() || runtime.GOOS == "windows" { // where modes mean nothing
		return nil
	}
	owner := -1
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(s.Uid)
	}
	if allowed(mode.Perm(), owner, os.Geteuid()) {
		return nil
	}
	return fmt.Errorf("others may read or change %s (its mode is %04o), and it holds a secret: chmod 600 %s, and renew what is in it if others use this machine",
		path, mode.Perm(), quote(path))
}

// allowed is PostgreSQL's rule for the keys of its server: a file of root's may
// also be read by its group, which is how a user who is not root gets it (Debian's
// group ssl-cert, Kubernetes' fsGroup).
func allowed(mode os.FileMode, owner, user int) bool {
	if owner == 0 && user != 0 {
		return mode&0o037 == 0
	}
	return mode&0o077 == 0
}

// quote makes one word of a shell's of a path.
func quote(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-+@", r)
	}) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
