package main

import (
	"encoding/binary"
	"os"
	"time"
)

// A wall clock that jumps. In the program to torture, time.Now adds what stands
// in a file that all processes with clockVariable map: 8 bytes, seconds, in the
// machine's own order. The monotonic clock and timers go on, as they do when a
// real clock is set.
const clockVariable = "TORTURE_CLOCK"

// shiftSource becomes a file of package time.
const shiftSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var tortureClock = openTortureClock()

func openTortureClock() *int64 {
	path, ok := syscall.Getenv("` + clockVariable + `")
	if !ok {
		return nil
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic(path + ": " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(path + ": " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&page[0]))
}

func tortureShift() int64 {
	if tortureClock == nil {
		return 0
	}
	return atomic.LoadInt64(tortureClock)
}
`

// clockPatch changes time.Now of Go 1.26.
var clockPatch = patch{
	of: "time", file: "time.go",
	old:    "\tsec, nsec, mono := runtimeNow()\n",
	new:    "\tsec, nsec, mono := runtimeNow()\n\tsec += tortureShift()\n",
	source: shiftSource,
}

// clock is the wall clock of a run's masters.
type clock struct{ path string }

func newClock(path string) (clock, error) {
	return clock{path}, os.WriteFile(path, make([]byte, 8), 0o600)
}

// set has the clock show so much more than the true time.
func (c clock) set(ahead time.Duration) error {
	// In place: the file is mapped.
	f, err := os.OpenFile(c.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(ahead/time.Second))), 0)
	return err
}

func (c clock) env() string { return clockVariable + "=" + c.path }
