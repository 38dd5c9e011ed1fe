package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Transfer says what a command that moves files may do here. A request for
// which there is nobody is refused. Calls come in order, one at a time, each
// answered when it has returned; an error is told to the worker, in its words,
// and does not end the command.
type Transfer struct {
	File      FileWriter      // for upload_file
	Directory DirectoryWriter // for upload_directory
	Reader    FileReader      // for download_file
}

// FileWriter takes a file that a worker uploads.
type FileWriter interface {
	// Write takes the next block; p is the callee's to keep.
	Write(ctx context.Context, p []byte) error
	// Close comes after the last block, also of a file that could not be read
	// to its end: the command's rc says which.
	Close(ctx context.Context) error
	// SetTimes comes after Close if the command asked to keep the times.
	SetTimes(ctx context.Context, accessed, modified time.Time) error
}

// DirectoryWriter takes a tar archive of a directory that a worker uploads.
type DirectoryWriter interface {
	Write(ctx context.Context, p []byte) error
	// Unpack comes after the last block.
	Unpack(ctx context.Context) error
}

// FileReader gives a file that a worker downloads.
type FileReader interface {
	// Read returns the next block, of n bytes at most; nothing at the end.
	Read(ctx context.Context, n int) ([]byte, error)
	Close(ctx context.Context) error
}

// maxRead bounds one answer to update_read_file, with room for what is around
// it in the frame. A worker that asks for more gets less.
const maxRead = MaxFrame - 1024

var errNoTransfer = errors.New("this command moves no such file")

// handle does what a request asks.
func (t *Transfer) handle(ctx context.Context, f *frame) (any, error) {
	switch f.op {
	case "update_upload_file_write", "update_upload_file_close", "update_upload_file_utime":
		if t.File == nil {
			return nil, errNoTransfer
		}
	case "update_upload_directory_write", "update_upload_directory_unpack":
		if t.Directory == nil {
			return nil, errNoTransfer
		}
	case "update_read_file", "update_read_file_close":
		if t.Reader == nil {
			return nil, errNoTransfer
		}
	}
	switch f.op {
	case "update_upload_file_write":
		p, err := block(f)
		if err != nil {
			return nil, err
		}
		return nil, t.File.Write(ctx, p)
	case "update_upload_file_close":
		return nil, t.File.Close(ctx)
	case "update_upload_file_utime":
		accessed, ok1 := timeFrom(f.value("access_time"))
		modified, ok2 := timeFrom(f.value("modified_time"))
		if !ok1 || !ok2 {
			return nil, errors.New("times that are not seconds since 1970")
		}
		return nil, t.File.SetTimes(ctx, accessed, modified)
	case "update_upload_directory_write":
		p, err := block(f)
		if err != nil {
			return nil, err
		}
		return nil, t.Directory.Write(ctx, p)
	case "update_upload_directory_unpack":
		return nil, t.Directory.Unpack(ctx)
	case "update_read_file":
		n, ok := f.value("length").(int64)
		if !ok || n <= 0 {
			return nil, errors.New("a length that is not a positive number")
		}
		p, err := t.Reader.Read(ctx, int(min(n, maxRead)))
		if err != nil {
			return nil, err
		}
		if p == nil {
			p = []byte{}
		}
		return p, nil
	case "update_read_file_close":
		return nil, t.Reader.Close(ctx)
	}
	return nil, fmt.Errorf("unknown op %q", f.op)
}

// block returns the bytes that a write carries, copied out of the frame. The
// stock worker ends an upload that reached its limit with an empty text.
func block(f *frame) ([]byte, error) {
	switch v := f.value("args").(type) {
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	}
	return nil, errors.New("a block that is not bytes")
}

// timeFrom reads seconds since 1970.
func timeFrom(v any) (time.Time, bool) {
	switch v := v.(type) {
	case int64:
		if v < 0 || v > maxSeconds {
			return time.Time{}, false
		}
		return time.Unix(v, 0), true
	case float64:
		if !(v >= 0 && v <= maxSeconds) {
			return time.Time{}, false
		}
		whole, part := math.Modf(v)
		return time.Unix(int64(whole), int64(part*1e9)), true
	}
	return time.Time{}, false
}
