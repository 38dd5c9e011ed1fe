package ec2sim

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Linux sends the death signal when the thread ends that started the child: a
// machine must not hang on the thread of whoever booted it.
func TestMachineOutlivesTheThreadThatBootedIt(t *testing.T) {
	machines, err := newLocalMachines(Options{Dir: t.TempDir(), StopGrace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer machines.close()
	type booted struct {
		process Process
		thread  int
		err     error
	}
	result := make(chan booted, 1)
	go onMortalThread(func() {
		p, err := machines.boot(t.Context(), Machine{
			ID: newID("i"), Command: []string{"sleep", "1000"}, Console: io.Discard, Metadata: http.NotFoundHandler(), PowerOff: func() {},
		})
		result <- booted{p, syscall.Gettid(), err}
	})
	b := <-result
	if b.err != nil {
		t.Fatal(b.err)
	}
	eventually(t, "the thread is gone", func() bool {
		_, err := os.Stat("/proc/self/task/" + strconv.Itoa(b.thread))
		return os.IsNotExist(err)
	})
	lm := b.process.(*localMachine)
	if got := lm.members(); len(got) != 1 {
		t.Errorf("the machine's processes are %v", got)
	}
	if err := b.process.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if got := lm.members(); len(got) != 0 {
		t.Errorf("processes %v are left", got)
	}
}

// The process's first thread never ends, so that whoever waits for its end, or
// for what the kernel does at its end, waits in vain. A test cannot choose the
// thread that it is given; over many goroutines at once every thread comes up.
func TestNoMortalThreadIsTheFirst(t *testing.T) {
	const many = 64
	threads := make(chan int, many)
	var together, over sync.WaitGroup
	together.Add(many)
	for range many {
		over.Go(func() {
			onMortalThread(func() {
				threads <- syscall.Gettid()
				together.Done()
				together.Wait() // each has a thread of its own
			})
		})
	}
	over.Wait()
	close(threads)
	for thread := range threads {
		if thread == os.Getpid() {
			t.Error("one ran on the process's first thread")
		}
		eventually(t, "a thread is gone", func() bool {
			_, err := os.Stat("/proc/self/task/" + strconv.Itoa(thread))
			return os.IsNotExist(err)
		})
	}
}

func TestReadStat(t *testing.T) {
	p, ok := readStat(os.Getpid())
	if !ok || p.group != syscall.Getpgrp() || p.state == 'Z' {
		t.Errorf("%+v, %t", p, ok)
	}
	if _, ok := readStat(1 << 30); ok {
		t.Error("a process that is not there has a status")
	}
}
