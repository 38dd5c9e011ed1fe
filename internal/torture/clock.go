package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A wall clock that jumps. The program to torture is built with an overlay of
// the standard library's package time, whose Now adds what stands in a file that
// all processes with clockVariable map: 8 bytes, seconds, in the machine's own
// order. The monotonic clock and timers go on, as they do when a real clock is
// set. So the product itself knows nothing of it.
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

// In time.Now of Go 1.26, as often as there: once.
const (
	readsClock  = "\tsec, nsec, mono := runtimeNow()\n"
	shiftsClock = readsClock + "\tsec += tortureShift()\n"
)

// buildShifted builds the program with a clock that can be shifted. With
// -trimpath what is compiled does not depend on dir, so that Go's cache has it
// the next time.
func buildShifted(ctx context.Context, dir, program string) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	std := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		return err
	}
	if bytes.Count(source, []byte(readsClock)) != 1 {
		return fmt.Errorf("%s/time.go reads the clock in another way than this program knows: see clock.go", std)
	}
	replace := map[string]string{}
	for name, text := range map[string][]byte{
		"time.go":          bytes.Replace(source, []byte(readsClock), []byte(shiftsClock), 1),
		"torture_clock.go": []byte(shiftSource),
	} {
		replace[filepath.Join(std, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-overlay", path, "-o", program, "./cmd/dormouse")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	return build.Run()
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
