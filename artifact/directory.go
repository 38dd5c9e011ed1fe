package artifact

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/dormouse-ci/dormouse"
)

// Directory is a directory that is received as a tar archive. The archive is
// unpacked while it comes: it is never whole anywhere.
type Directory struct {
	pipe   *io.PipeWriter
	result chan error
	once   sync.Once
	over   atomic.Bool
	err    error // of what has been over
}

// Directory begins a directory that goes to dest; "." is the build's artifacts
// themselves. compress is "", "gz" or "bz2". limit is how many bytes its files
// may have altogether; 0 is no limit.
func (u *Upload) Directory(dest, compress string, limit int64) (*Directory, error) {
	dest, err := u.store.cleanDest(dest)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	d := &Directory{pipe: w, result: make(chan error, 1)}
	u.dirs = append(u.dirs, d)
	go func() { // until Unpack or Discard
		err := u.unpack(dest, compress, limit, r)
		r.CloseWithError(cmpErr(err, io.EOF)) // whoever writes on hears of it
		d.result <- err
	}()
	return d, nil
}

func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// Write takes the next bytes of the archive.
func (d *Directory) Write(_ context.Context, p []byte) error {
	_, err := d.pipe.Write(p)
	if errors.Is(err, io.EOF) {
		return nil // what follows the end of an archive is padding
	}
	return err
}

// Unpack comes after the last byte, and returns once all is written.
func (d *Directory) Unpack(context.Context) error { return d.end(nil) }

var errGivenUp = errors.New("the upload was given up")

func (d *Directory) end(cause error) error {
	d.once.Do(func() { // who comes second waits for the first
		d.pipe.CloseWithError(cause)
		d.err = <-d.result
		d.over.Store(true)
	})
	return d.err
}

// unpack writes the files of an archive below dest.
func (u *Upload) unpack(dest, compress string, limit int64, r io.Reader) error {
	switch compress {
	case "":
	case "gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return dormouse.Errorf(dormouse.Invalid, "the worker sent no gzip archive: %w", err)
		}
		r = z
	case "bz2":
		r = bzip2.NewReader(r)
	default:
		return dormouse.Errorf(dormouse.Invalid, "compress must be gz or bz2, not %q", compress)
	}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return drain(r)
		}
		if err != nil {
			return dormouse.Errorf(dormouse.Invalid, "the worker's archive cannot be read: %w", err)
		}
		if err := u.entry(dest, limit, h, t); err != nil {
			return err
		}
	}
}

// drain reads what follows the archive, so that its writer need not wait.
func drain(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return dormouse.Errorf(dormouse.Invalid, "the worker's archive cannot be read to its end: %w", err)
	}
	return nil
}

// entry takes one entry of an archive.
func (u *Upload) entry(dest string, limit int64, h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	if h.Typeflag == tar.TypeXGlobalHeader || h.Typeflag == tar.TypeDir && (name == "." || name == "/") {
		return nil // the directory itself, which Buildbot's workers call /
	}
	if path.IsAbs(h.Name) || !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
		return dormouse.Errorf(dormouse.Invalid, "the worker's archive has an entry %q, which leaves its directory", h.Name)
	}
	at := path.Join(dest, visible(name))
	switch h.Typeflag {
	case tar.TypeDir:
		return nil // its files bring it; an empty one is nothing to keep
	case tar.TypeReg:
		f, err := u.file(at, 0, usualMode)
		if err != nil {
			return err
		}
		return f.copy(content, limit)
	case tar.TypeSymlink, tar.TypeLink:
		from := at
		if h.Typeflag == tar.TypeLink {
			from = path.Join(dest, "x") // hard links name their target from the top
		}
		target, ok := inside(dest, from, visible(h.Linkname))
		if !ok {
			return dormouse.Errorf(dormouse.Invalid, "the worker's archive has a link %q to %q, which leads out of its directory", h.Name, h.Linkname)
		}
		if len(u.links) >= MaxFiles {
			return dormouse.Errorf(dormouse.Invalid, "the upload has more than %d links", MaxFiles)
		}
		u.links = append(u.links, link{at: at, target: target, dir: dest, said: h.Linkname})
		return nil
	}
	return dormouse.Errorf(dormouse.Invalid, "the worker's archive has an entry %q that is neither a file, a directory nor a link", h.Name)
}

// copyBlock is how much of a file is read at once.
const copyBlock = 256 << 10

// copy receives a file from an archive. limit is of the whole upload.
func (f *File) copy(r io.Reader, limit int64) error {
	buf := make([]byte, copyBlock)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if limit > 0 && f.up.bytes+int64(n) > limit {
				return dormouse.Errorf(dormouse.Invalid, "the directory has more than maxsize, which is %d bytes", limit)
			}
			if err := f.Write(context.Background(), buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return f.Close(context.Background())
		}
		if err != nil {
			return dormouse.Errorf(dormouse.Invalid, "the worker's archive cannot be read: %w", err)
		}
	}
}

// visible writes what is not UTF-8, or would not be seen, as %XX.
func visible(name string) string {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, control) {
		return name
	}
	var out strings.Builder
	for name != "" {
		r, size := utf8.DecodeRuneInString(name)
		if r == utf8.RuneError && size == 1 || control(r) {
			fmt.Fprintf(&out, "%%%02X", name[0])
		} else {
			out.WriteString(name[:size])
		}
		name = name[size:]
	}
	return out.String()
}

func control(r rune) bool { return r < ' ' || r == 0x7f }
