package master

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dormouse-ci/dormouse"
)

// ownerName names this directory's master for the lease of the database: this
// machine, for people, and something random that is kept in the lock file, with
// that file's number, so that two directories are never taken for one: in a copy
// of a directory the file has what the original's has, and another number.
func ownerName(lock *os.File) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("asking for this machine's name: %w", err)
	}
	fi, err := lock.Stat()
	if err != nil {
		return "", fmt.Errorf("looking at %s: %w", lock.Name(), err)
	}
	var number uint64
	if stat, ok := fi.Sys().(*syscall.Stat_t); ok {
		number = stat.Ino
	}
	var id [26]byte // what rand.Text gives
	n, err := lock.ReadAt(id[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading %s: %w", lock.Name(), err)
	}
	if n < len(id) {
		copy(id[:], rand.Text())
		if _, err := lock.WriteAt(id[:], 0); err != nil {
			return "", fmt.Errorf("writing %s: %w", lock.Name(), err)
		}
	}
	return fmt.Sprintf("%s %s %d", host, id[:], number), nil
}

// lockDir takes the base directory for this process. The lock goes with the
// process, however it ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "dormouse.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Unavailable, "the master's directory cannot be used: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, dormouse.Errorf(dormouse.Conflict, "another master runs in %s (it holds %s): stop it first", dir, path)
	}
	return f, nil
}

// unlockDir gives the base directory back. A process that is being started has the
// open file, too, until it becomes its program: so closing alone would not end the
// lock.
func unlockDir(lock *os.File) {
	_ = syscall.Flock(int(lock.Fd()), syscall.LOCK_UN)
	_ = lock.Close()
}
