package ec2sim

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner starts processes from one operating system thread that lives as long
// as the endpoint. Linux sends a child its death signal when the thread that
// forked it ends, not the process, and Go ends threads when it likes: a machine
// forked from any goroutine could die for no reason.
type spawner struct {
	requests chan spawn
	once     sync.Once
	done     chan struct{}
}

type spawn struct {
	cmd    *exec.Cmd
	result chan error
}

func newSpawner() *spawner {
	sp := &spawner{requests: make(chan spawn), done: make(chan struct{})}
	go func() {
		defer close(sp.done)
		// Never unlocked: the thread ends with the goroutine, and nothing else
		// runs on it meanwhile.
		runtime.LockOSThread()
		for r := range sp.requests {
			r.result <- r.cmd.Start()
		}
	}()
	return sp
}

// start starts a command. It must not be called after close.
func (sp *spawner) start(cmd *exec.Cmd) error {
	r := spawn{cmd, make(chan error, 1)}
	sp.requests <- r
	return <-r.result
}

// close ends the thread; children that are still there get their death signal.
func (sp *spawner) close() {
	sp.once.Do(func() { close(sp.requests) })
	<-sp.done
}
