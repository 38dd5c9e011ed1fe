package master

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/dormouse-ci/dormouse"
)

// lockDir takes the base directory for this process. The lock goes with the
// process, however it ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "dormouse.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Unavailable, "the master's directory can not be used: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, dormouse.Errorf(dormouse.Conflict, "another master runs in %s (it holds %s): stop it first", dir, path)
	}
	return f, nil
}
