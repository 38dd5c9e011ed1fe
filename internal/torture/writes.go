package main

import (
	"bufio"
	"os"
	"strings"
)

// A master that dies at a write. In the program to torture, a process with
// writesVariable adds a line to the file of that name for each write to the
// store before it is carried out: what kind of write it is. At the point that
// pointVariable names, it kills itself. Of the kind that failVariable names, the
// second write is not carried out, and fails as one whose answer is lost.
const (
	writesVariable = "TORTURE_WRITES"
	pointVariable  = "TORTURE_POINT"
	failVariable   = "TORTURE_FAIL"
)

// diedLine is the last line of the file where the master was killed at its point.
const diedLine = "died"

// writesPatch has a master's writes counted. Two writes of one kind differ in
// numbers and in ids of launches, of 26 letters.
var writesPatch = patch{
	of: "github.com/dormouse-ci/dormouse/store", file: "db.go",
	old: "\tdb := &DB{backend: b}\n\tif err",
	new: "\tdb := &DB{backend: tortureBackend(b)}\n\tif err",
	source: `package store

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"sync"
	"syscall"

	"github.com/dormouse-ci/dormouse"
)

var tortureNames = regexp.MustCompile(" \\S*\\d\\S*| [a-z2-7]{26}\\b")

// torture counts writes; its file is nil where nobody asks for that.
var torture struct {
	sync.Mutex
	file   *os.File
	counts map[string]int
}

func tortureBackend(b Backend) Backend {
	path, ok := os.LookupEnv("` + writesVariable + `")
	if !ok {
		return b
	}
	torture.Lock()
	defer torture.Unlock()
	if torture.file == nil {
		var err error
		if torture.file, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			panic(err)
		}
		torture.counts = map[string]int{}
	}
	b.Writer = tortureWriter{b.Writer}
	if b.Lease != nil {
		b.Lease = tortureWriter{b.Lease}
	}
	return b
}

type tortureWriter struct{ Writer }

func (w tortureWriter) Write(ctx context.Context, what string, f func(context.Context, Tx) error) error {
	kind := tortureNames.ReplaceAllString(what, "")
	torture.Lock()
	torture.counts[kind]++
	n := torture.counts[kind]
	fmt.Fprintln(torture.file, kind)
	torture.Unlock()
	tortureDie("before", kind, n)
	var err error = dormouse.Errorf(dormouse.Unanswered, "%s: the connection broke during the commit", what)
	if kind != os.Getenv("` + failVariable + `") || n != 2 {
		err = w.Writer.Write(ctx, what, f)
	}
	tortureDie("after", kind, n)
	return err
}

func tortureDie(when, kind string, n int) {
	if os.Getenv("` + pointVariable + `") == fmt.Sprintf("%s %s %d", when, kind, n) {
		fmt.Fprintln(torture.file, "` + diedLine + `")
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
`,
}

// diary is the file in which a master's writes stand, and its calls of EC2
// between them: the endpoint adds those.
type diary struct{ path string }

func (d diary) add(line string) error {
	f, err := os.OpenFile(d.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteString(line + "\n"); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// read returns the kinds of writes and calls in their order, and whether the
// master was killed at its point.
func (d diary) read() (done []string, died bool, err error) {
	text, err := os.ReadFile(d.path)
	if err != nil && !os.IsNotExist(err) {
		return nil, false, err
	}
	for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
		if lines.Text() == diedLine {
			died = true
			continue
		}
		done = append(done, lines.Text())
	}
	return done, died, nil
}
