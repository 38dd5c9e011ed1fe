//go:build !linux

package build

import "syscall"

// endsWithUs makes a group of processes; only Linux can end it with its parent.
func endsWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
