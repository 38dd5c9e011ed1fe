package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// downloadAction writes a file on the worker.
type downloadAction struct{ dormouse.Download }

var _ = does(func(a dormouse.Download) action { return downloadAction{a} })

func (downloadAction) defaultName() string { return "download" }

// downloadArgs are what a download is of, rendered.
type downloadArgs struct {
	source string // on the master; "" where there is text
	text   string
	dest   string // absolute, on the worker
	shown  string
}

func (a downloadAction) args(s *step) (d downloadArgs, err error) {
	switch {
	case a.Source != nil:
		d.source, err = s.text("mastersrc", a.Source)
	case a.JSON != nil:
		var v any
		if v, err = s.render("o", a.JSON); err == nil {
			var b []byte
			if b, err = json.Marshal(v); err == nil {
				d.text = string(b)
			}
		}
	default:
		d.text, err = s.text("s", a.Text)
	}
	if err != nil {
		return d, err
	}
	if d.shown, err = s.text("workerdest", a.Dest); err != nil {
		return d, err
	}
	d.dest, err = s.below(a.WorkDir, d.shown)
	return d, err
}

// below is where a file is written on the worker: a path in the directory that
// the step works in, which does not leave the builder's own.
func (s *step) below(workDir any, name string) (string, error) {
	dir, err := s.text("workdir", workDir)
	if err != nil {
		return "", err
	}
	dir = cmp.Or(dir, "build")
	rel := strings.ReplaceAll(name, "\\", "/")
	if !isAbsolute(dir) {
		rel = path.Join(strings.ReplaceAll(dir, "\\", "/"), rel)
	}
	if rel = path.Clean(rel); name == "" || strings.ContainsRune(name, 0) || isAbsolute(name) || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", dormouse.Errorf(dormouse.Invalid, "workerdest %q does not name a place in the builder's directory", name)
	}
	return s.onWorker(s.path(dir), name), nil
}

// reveal implements action.
func (a downloadAction) reveal(s *step) { _, _ = a.args(s) }

func (a downloadAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	d, err := a.args(s)
	if err != nil {
		return s.refusal(ctx, err)
	}
	if s.spec.DescriptionDone == "" {
		s.summary = "downloading to " + base(d.shown)
	}
	return s.download(ctx, d.dest, func() (io.ReadCloser, error) {
		if a.Source == nil {
			return textFile{strings.NewReader(d.text)}, nil
		}
		files, err := s.files()
		if err != nil {
			return nil, err
		}
		return files.Read(d.source)
	}, a.Download)
}

// textFile is a text to be sent.
type textFile struct{ *strings.Reader }

func (textFile) Close() error { return nil }

// sizeOf is how much there is to be sent, where that is known.
func sizeOf(r io.Reader) int64 {
	switch r := r.(type) {
	case textFile:
		return r.Size()
	case File:
		if fi, err := r.Stat(); err == nil {
			return fi.Size()
		}
	}
	return 0
}

// download writes what open reads to a file on the worker.
func (s *step) download(ctx context.Context, dest string, open func() (io.ReadCloser, error), o dormouse.Download) (dormouse.Result, error) {
	var out *sender
	defer func() {
		if out != nil {
			out.end()
		}
	}()
	var mode any
	if o.HasMode {
		mode = int64(o.Mode)
	}
	end, err := s.run(ctx, command{
		name: "download_file",
		args: map[string]any{
			"path": dest, "maxsize": limitArg(o.MaxSize),
			"blocksize": cmp.Or(o.BlockSize, defaultBlockSize), "mode": mode,
		},
		transfer: func() (wire.Transfer, error) {
			if out != nil {
				out.end()
			}
			r, err := open()
			if err != nil {
				return wire.Transfer{}, err
			}
			out = &sender{r: r, limit: o.MaxSize}
			// Before anything is sent: a stock worker keeps the part that fits.
			if size := sizeOf(r); o.MaxSize > 0 && size > o.MaxSize {
				return wire.Transfer{}, dormouse.Errorf(dormouse.Invalid, "what is to be downloaded has %d bytes, which is more than maxsize, %d", size, o.MaxSize)
			}
			return wire.Transfer{Reader: out}, nil
		},
	})
	if out != nil && ctx.Err() == nil && !errors.Is(err, wire.ErrConnectionLost) {
		if own := out.failure(); own != nil {
			err = own
		}
	}
	switch {
	case err != nil && ctx.Err() == nil:
		return s.refusal(ctx, err)
	case err != nil:
		return dormouse.Exception, err
	case !succeeded(end):
		return dormouse.Failure, nil
	}
	return dormouse.Success, nil
}
