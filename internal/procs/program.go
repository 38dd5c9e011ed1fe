package procs

import (
	"os"
	"syscall"
)

// WriteProgram writes a file that is to be run, while this process starts none: a
// child has for a moment what is open here, and a file that somebody has open for
// writing cannot be run ("text file busy", golang.org/issue/22315).
func WriteProgram(path string, text []byte) error {
	const executable = 0o755
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, text, executable)
}
