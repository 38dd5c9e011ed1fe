package build

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// defaultBlockSize is Buildbot's for FileUpload: few round trips, and well under
// the largest frame.
const defaultBlockSize = 256 << 10

// receiver takes what a worker sends, and keeps the first thing that went wrong
// here: the worker is told, but says it in words of its own.
type receiver struct {
	wire.FileWriter
	wire.DirectoryWriter

	mu  sync.Mutex
	err error
}

func (r *receiver) note(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	return err
}

func (r *receiver) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// file and directory are its two faces.
func (r *receiver) transfer() wire.Transfer {
	if r.FileWriter != nil {
		return wire.Transfer{File: fileFace{r}}
	}
	return wire.Transfer{Directory: directoryFace{r}}
}

type fileFace struct{ r *receiver }

func (f fileFace) Write(ctx context.Context, p []byte) error {
	return f.r.note(f.r.FileWriter.Write(ctx, p))
}

func (f fileFace) Close(ctx context.Context) error { return f.r.note(f.r.FileWriter.Close(ctx)) }

func (f fileFace) SetTimes(ctx context.Context, accessed, modified time.Time) error {
	return f.r.note(f.r.FileWriter.SetTimes(ctx, accessed, modified))
}

type directoryFace struct{ r *receiver }

func (d directoryFace) Write(ctx context.Context, p []byte) error {
	return d.r.note(d.r.DirectoryWriter.Write(ctx, p))
}

func (d directoryFace) Unpack(ctx context.Context) error {
	return d.r.note(d.r.DirectoryWriter.Unpack(ctx))
}

// sender gives a worker what it reads.
type sender struct {
	r     io.ReadCloser
	limit int64 // bytes; 0 is none
	sent  int64
	once  sync.Once

	mu  sync.Mutex
	err error
}

// Read implements wire.FileReader.
func (s *sender) Read(_ context.Context, n int) ([]byte, error) {
	p := make([]byte, n)
	n, err := io.ReadFull(s.r, p)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if s.sent += int64(n); err == nil && s.limit > 0 && s.sent > s.limit {
		err = dormouse.Errorf(dormouse.Invalid, "what is to be downloaded is larger than maxsize, which is %d bytes", s.limit)
	}
	if err != nil {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		return nil, err
	}
	return p[:n], nil
}

// Close implements wire.FileReader.
func (s *sender) Close(context.Context) error {
	s.end()
	return nil
}

func (s *sender) end() { s.once.Do(func() { s.r.Close() }) }

func (s *sender) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// files are the master's, or an error where it has none.
func (s *step) files() (Files, error) {
	if f := s.build.runner.Files; f != nil {
		return f, nil
	}
	return nil, dormouse.Errorf(dormouse.Internal, "this master keeps no files")
}

// refusal makes a step's end of what went wrong with moving files: what the user
// can mend is a FAILURE, and said in the log; the rest is an exception.
func (s *step) refusal(ctx context.Context, err error) (dormouse.Result, error) {
	switch dormouse.CodeOf(err) {
	case dormouse.Invalid, dormouse.NotFound:
		s.header(ctx, err.Error())
		return dormouse.Failure, nil
	}
	return dormouse.Exception, err
}

// succeeded reports whether a command that has no exit code of its own went
// well. Workers say none where all is well.
func succeeded(end ended) bool { return !end.HasRC || end.RC == 0 }

// limitArg is a limit as the protocol has it.
func limitArg(n int64) any {
	if n <= 0 {
		return nil
	}
	return n
}
