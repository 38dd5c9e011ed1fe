package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// cgroupName holds the machines' control groups, in each hierarchy that systemd may
// use.
const cgroupName = "dormouse-boot-test"

// inCgroup puts a shell into the control group of the machine $1: systemd takes the
// one that it starts in for its own, and two cannot share one.
const inCgroup = `
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
  [ -e $hierarchy/cgroup.procs ] || continue
  mkdir -p $hierarchy/` + cgroupName + `/$1
  echo $$ >$hierarchy/` + cgroupName + `/$1/cgroup.procs
done
`

// removeCgroups removes the control groups that nothing is in any more.
func removeCgroups() {
	for _, hierarchy := range []string{"systemd", "unified", ""} {
		top := filepath.Join("/sys/fs/cgroup", hierarchy, cgroupName)
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			_ = os.Remove(dir) // another run may be in it
		}
	}
}
