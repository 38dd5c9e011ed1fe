package sqlite

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse/store"
	"golang.org/x/sys/unix"
)

// place tells the file at path from a copy of it. A copied file has another
// number, and was made at another time. On a clone of its disk both are the
// same, and the disk is another, where disks tell who they are. On a snapshot
// of its file system the file system is.
func place(path string) (store.Place, error) {
	var x unix.Statx_t
	var fs unix.Statfs_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_BTIME, &x); err != nil {
		return nil, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	if err := unix.Statfs(path, &fs); err != nil {
		return nil, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	p := store.Place{}
	switch fs.Type {
	case unix.FUSE_SUPER_MAGIC, unix.V9FS_MAGIC:
		return p, nil // their numbers can change whenever they are mounted
	case unix.BTRFS_SUPER_MAGIC, zfsMagic:
		// Each snapshot has a number of its own. Those of others say nothing, or
		// change with the device.
		p["file system"] = fmt.Sprintf("%x", fs.Fsid.Val)
	}
	p["file"] = fmt.Sprint(x.Ino)
	if x.Mask&unix.STATX_BTIME != 0 {
		p["file"] += fmt.Sprintf(" of %d.%09d", x.Btime.Sec, x.Btime.Nsec)
	}
	if id := disk("/sys", x.Dev_major, x.Dev_minor); id != "" {
		p["disk"] = id
	}
	return p, nil
}

// zfsMagic is ZFS_SUPER_MAGIC, which the kernel's headers lack.
const zfsMagic = 0x2fc12fc1

// disk is what the disk of a device says that it is: its serial number or
// worldwide name, on EC2 that of the volume; "" where it says nothing, as disks
// do that are no disks (device numbers with major 0, network file systems).
func disk(sys string, major, minor uint32) string {
	dir, err := filepath.EvalSymlinks(filepath.Join(sys, "dev/block", fmt.Sprintf("%d:%d", major, minor)))
	if err != nil {
		return ""
	}
	const layers = 8 // a file system on LVM on RAID on dm-crypt has four
	return diskAt(dir, layers)
}

func diskAt(dir string, layers int) string {
	if layers == 0 {
		return ""
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		return diskAt(filepath.Dir(dir), layers-1)
	}
	below, _ := os.ReadDir(filepath.Join(dir, "slaves"))
	var ids []string
	for _, b := range below {
		to, err := filepath.EvalSymlinks(filepath.Join(dir, "slaves", b.Name()))
		if err != nil {
			return ""
		}
		id := diskAt(to, layers-1)
		if id == "" {
			return "" // a part of it could be another one, and none would know
		}
		ids = append(ids, id)
	}
	if len(ids) > 0 {
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	id := ""
	for _, name := range []string{"wwid", "device/wwid", "serial", "device/serial", "loop/backing_file"} {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		id = cmp.Or(id, strings.Join(strings.Fields(string(text)), " "))
	}
	return id
}
