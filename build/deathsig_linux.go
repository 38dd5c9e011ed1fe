package build

import "syscall"

// endsWithUs makes a group of processes whose leader is killed when the thread ends
// that started it.
func endsWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
