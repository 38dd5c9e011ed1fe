//go:build !linux

package command

import (
	"os"
	"syscall"
	"time"
)

// statNumbers are mode, inode, device, links, user, group, size, and the
// times of access, modification and change in seconds; the BSDs name those
// fields differently from each other, so all three are the modification's.
func statNumbers(fi os.FileInfo) []any {
	st := fi.Sys().(*syscall.Stat_t)
	modified := fi.ModTime().Unix()
	return []any{
		int64(st.Mode), int64(st.Ino), int64(st.Dev), int64(st.Nlink), int64(st.Uid), int64(st.Gid), st.Size,
		modified, modified, modified,
	}
}

// accessTime is the modification's, see above.
func accessTime(fi os.FileInfo) time.Time { return fi.ModTime() }

// changeTime is the modification's, see above.
func changeTime(fi os.FileInfo) time.Time { return fi.ModTime() }
