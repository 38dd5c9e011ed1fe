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
	go onMortalThread(func() {
		defer close(sp.done)
		for r := range sp.requests {
			r.result <- r.cmd.Start()
		}
	})
	return sp
}

// onMortalThread calls f on an operating system thread that runs nothing else,
// and that ends with the goroutine, which the caller has made for this. The
// process's first thread is not such a one: Go parks it for ever instead.
func onMortalThread(f func()) {
	runtime.LockOSThread() // never unlocked
	if !onFirstThread() {
		f()
		return
	}
	// While this goroutine has the first thread, no other one gets it.
	over := make(chan struct{})
	go func() {
		defer close(over)
		runtime.LockOSThread()
		f()
	}()
	<-over
	runtime.UnlockOSThread()
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
