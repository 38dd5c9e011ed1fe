//go:build unix

package listen

import (
	"io/fs"
	"math"
	"syscall"
)

// descriptors is how many files and sockets this process may have open. Go has
// raised the soft limit to the hard one by now.
func descriptors() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return assumed
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) //nolint:gosec,unconvert // signed on FreeBSD; and bounded
}

// inode tells a file from another that has taken its name.
func inode(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Ino) //nolint:unconvert // it is smaller elsewhere
	}
	return 0
}
