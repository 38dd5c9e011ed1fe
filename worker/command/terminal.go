package command

import (
	"fmt"
	"os"
	"syscall"

	"github.com/creack/pty"
)

// openTerminal makes a pseudo-terminal: our end of it, and the command's.
func openTerminal() (ours, theirs *os.File, err error) {
	ours, theirs, err = pty.Open()
	if err == nil {
		// Else closing it would not end a read that waits.
		err = syscall.SetNonblock(int(ours.Fd()), true)
		if err != nil {
			ours.Close()
			theirs.Close()
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a terminal: %w", err)
	}
	return ours, theirs, nil
}
