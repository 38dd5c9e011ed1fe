package command

import (
	"os"
	"syscall"
	"time"
)

// statNumbers are mode, inode, device, links, user, group, size, and the
// times of access, modification and change in seconds.
func statNumbers(fi os.FileInfo) []any {
	st := fi.Sys().(*syscall.Stat_t)
	return []any{
		// The types of some differ between architectures.
		int64(st.Mode), int64(st.Ino), int64(st.Dev), int64(st.Nlink), int64(st.Uid), int64(st.Gid), st.Size,
		int64(st.Atim.Sec), int64(st.Mtim.Sec), int64(st.Ctim.Sec), //nolint:unconvert // see above
	}
}

// accessTime is when a file was last read.
func accessTime(fi os.FileInfo) time.Time {
	st := fi.Sys().(*syscall.Stat_t)
	return time.Unix(st.Atim.Unix())
}

// changeTime is when anything about a file was last changed.
func changeTime(fi os.FileInfo) time.Time {
	st := fi.Sys().(*syscall.Stat_t)
	return time.Unix(st.Ctim.Unix())
}
