package command

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// tailInterval is how often log files are looked at, while their command runs
// and only then: half of Buildbot's interval, for a log that is watched. They
// are looked at, not waited for, since inotify says nothing of what another
// machine writes to a network file system, and one way that always works is
// better than two.
const tailInterval = time.Second

// logFile is one of a command's log files.
type logFile struct {
	name string
	path string
	// follow leaves out what was in the file before the command began.
	follow bool
}

// tailChunk is what one read from a log file gave. Its data is valid until the
// next is received.
type tailChunk struct {
	file int
	data []byte
	time time.Time
}

// tails read a command's log files as they grow, in one goroutine.
type tails struct {
	output chan tailChunk
	ending chan struct{} // one last look
	stop   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
	files  []*tailed
	log    func(path string, err error)
}

// tailed is where the reader is in one file.
type tailed struct {
	logFile
	before os.FileInfo // as the command found it, until it is another; nil: not there
	file   *os.File
	at     int64
	told   bool // that it cannot be read
}

// startTails notes what is there before a command begins, and begins to read.
// complain is called, in the goroutine, with the first reason why a file cannot
// be read.
func startTails(files []logFile, complain func(path string, err error)) *tails {
	t := &tails{
		output: make(chan tailChunk),
		ending: make(chan struct{}),
		stop:   make(chan struct{}),
		log:    complain,
	}
	for _, f := range files {
		fi, err := os.Stat(f.path)
		if err != nil {
			fi = nil
		}
		t.files = append(t.files, &tailed{logFile: f, before: fi})
	}
	t.wg.Go(t.run)
	return t
}

// Output delivers what is read, and is closed after the last of it. Not
// receiving holds the reading back.
func (t *tails) Output() <-chan tailChunk { return t.output }

// Finish has all be read that is there now, and no more.
func (t *tails) Finish() { close(t.ending) }

// Close gives up what was not received.
func (t *tails) Close() {
	t.once.Do(func() { close(t.stop) })
	t.wg.Wait()
}

func (t *tails) run() {
	defer close(t.output)
	defer func() {
		for _, f := range t.files {
			f.file.Close() // closing a nil file is harmless
		}
	}()
	r := tailReader{t: t}
	ticker := time.NewTicker(tailInterval)
	defer ticker.Stop()
	for last := false; !last; {
		select {
		case <-ticker.C:
		case <-t.ending:
			last = true
		case <-t.stop:
			return
		}
		for i, f := range t.files {
			if !r.look(i, f) {
				return
			}
		}
	}
}

// tailReader has the two buffers that take turns: when the second is received,
// the receiver is done with the first.
type tailReader struct {
	t       *tails
	buffers [2][]byte
	turn    int
}

// look reads what is new in a file. It returns false when it is to stop.
func (r *tailReader) look(i int, f *tailed) bool {
	fi, err := os.Stat(f.path)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			r.complain(f, err)
		}
		// What is removed may have been written to before.
		f.before = nil
		return f.file == nil || r.read(i, f)
	}
	if f.file != nil {
		// The old file first: it may have grown until it was replaced.
		if !r.read(i, f) {
			return false
		}
		if now, err := f.file.Stat(); err == nil && os.SameFile(now, fi) {
			return true
		}
		f.file.Close()
		f.file, f.at, f.before = nil, 0, nil
	}
	at := int64(0)
	if b := f.before; b != nil {
		if sameState(b, fi) {
			return true // left from before, and not the command's
		}
		if f.follow && os.SameFile(b, fi) && b.Size() <= fi.Size() {
			at = b.Size()
		}
	}
	file, _, err := openRegular(os.OpenFile, f.path)
	if err != nil {
		r.complain(f, err)
		return true
	}
	f.file, f.at = file, at
	return r.read(i, f)
}

// sameState reports whether nobody has written to a file in between.
func sameState(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && changeTime(a).Equal(changeTime(b))
}

// read reads to where the file ends now: one that grows faster than it is read
// must not keep the others, nor the command's end, waiting.
func (r *tailReader) read(i int, f *tailed) bool {
	fi, err := f.file.Stat()
	if err != nil {
		r.complain(f, err)
		return true
	}
	if fi.Size() < f.at {
		f.at = 0 // it was cut, and begins anew
	}
	for f.at < fi.Size() {
		if r.buffers[r.turn] == nil {
			r.buffers[r.turn] = make([]byte, readSize)
		}
		p := r.buffers[r.turn]
		n, err := f.file.ReadAt(p[:min(int64(len(p)), fi.Size()-f.at)], f.at)
		if n > 0 {
			select {
			case r.t.output <- tailChunk{file: i, data: p[:n], time: time.Now()}:
			case <-r.t.stop:
				return false
			}
			f.at += int64(n)
			r.turn = 1 - r.turn
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ESTALE) {
				r.complain(f, err)
			}
			return true
		}
	}
	return true
}

func (r *tailReader) complain(f *tailed, err error) {
	if !f.told {
		f.told = true
		r.t.log(f.path, err)
	}
}

// logFiles reads the argument logfiles: names, each with a file's name, relative
// to the working directory, or with a dictionary of filename and follow.
func (a *arguments) logFiles(dir string) []logFile {
	v, ok := a.get("logfiles")
	if !ok {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		a.fail("logfiles", "is not a dictionary")
		return nil
	}
	if len(m) > maxLogFiles {
		a.fail("logfiles", "has more than %d files", maxLogFiles)
		return nil
	}
	files := make([]logFile, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		f := arguments{command: a.command, args: map[string]any{"filename": m[name]}}
		if options, ok := m[name].(map[string]any); ok {
			f.args = options
		}
		path := f.path("filename")
		follow := f.bool("follow", false)
		if len(f.wrong) > 0 {
			a.fail("logfiles", "has a log %q whose %s", name, f.wrong[0])
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		files = append(files, logFile{name: name, path: path, follow: follow})
	}
	return files
}

// maxLogFiles bounds what one command can make the agent watch.
const maxLogFiles = 100
