package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// uploadAction copies files from the worker to the build's artifacts.
type uploadAction struct{ dormouse.Upload }

var _ = does(func(a dormouse.Upload) action { return uploadAction{a} })

func (uploadAction) defaultName() string { return "upload" }

// uploadPaths are an upload's paths, rendered.
type uploadPaths struct {
	dir     string // absolute, on the worker
	sources []string
	dest    string
}

func (a uploadAction) paths(s *step) (p uploadPaths, err error) {
	if p.dir, err = s.workDir(a.WorkDir); err != nil {
		return p, err
	}
	for _, v := range a.Sources {
		out, err := s.render("workersrc", v)
		if err != nil {
			return p, err
		}
		words, err := flatten(nil, out)
		if err != nil {
			return p, dormouse.Errorf(dormouse.Invalid, "workersrc: %w", err)
		}
		for _, w := range words {
			p.sources = append(p.sources, fmt.Sprint(w))
		}
	}
	if slices.Contains(p.sources, "") {
		return p, dormouse.Errorf(dormouse.Invalid, "workersrc is empty")
	}
	p.dest, err = s.text("masterdest", a.Dest)
	return p, err
}

// reveal implements action.
func (a uploadAction) reveal(s *step) { _, _ = a.paths(s) }

func (a uploadAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	p, err := a.paths(s)
	if err != nil {
		return dormouse.Exception, err
	}
	switch a.Kind {
	case dormouse.UploadFiles:
		return a.several(ctx, s, p)
	case dormouse.UploadDirectory:
		s.summary = cmp.Or(s.summary, "uploading "+base(p.sources[0]))
		// A stock worker fails over a directory that is not there with a
		// traceback: asking first gives a sentence.
		at := s.onWorker(p.dir, p.sources[0])
		end, err := s.run(ctx, command{name: "stat", quiet: true, args: map[string]any{"path": at}})
		switch {
		case err != nil:
			return dormouse.Exception, err
		case end.RC != 0 || end.FileMode&typeMask != typeDir:
			s.header(ctx, "there is no directory "+at+" on the worker")
			return dormouse.Failure, nil
		}
		return a.directory(ctx, s, p.dir, p.sources[0], p.dest)
	}
	s.summary = cmp.Or(s.summary, "uploading "+base(p.sources[0]))
	return a.file(ctx, s, p.dir, p.sources[0], p.dest, a.MaxSize)
}

// base is the last element of a path on the worker, whose separator may be
// either.
func base(name string) string { return path.Base(strings.ReplaceAll(name, "\\", "/")) }

// onWorker makes a path on the worker absolute.
func (s *step) onWorker(dir, name string) string {
	if isAbsolute(name) {
		return name
	}
	return strings.TrimRight(dir, "/") + "/" + name // Windows takes that too
}

// isAbsolute reports whether a path is, on a worker of any kind.
func isAbsolute(name string) bool {
	return strings.HasPrefix(name, "/") || strings.HasPrefix(name, `\`) || len(name) > 2 && name[1] == ':' && (name[2] == '\\' || name[2] == '/')
}

// file uploads one file.
func (a uploadAction) file(ctx context.Context, s *step, dir, source, dest string, limit int64) (dormouse.Result, error) {
	return a.move(ctx, s, dest, limit, command{name: "upload_file", args: map[string]any{
		"path": s.onWorker(dir, source), "maxsize": limitArg(limit),
		"blocksize": cmp.Or(a.BlockSize, defaultBlockSize), "keepstamp": a.KeepStamp,
	}}, func(u Upload) (*receiver, error) {
		w, err := u.File(dest, limit, fs.FileMode(a.Mode))
		return &receiver{FileWriter: w}, err
	})
}

// directory uploads a directory.
func (a uploadAction) directory(ctx context.Context, s *step, dir, source, dest string) (dormouse.Result, error) {
	var compress any
	if a.Compress != "" {
		compress = a.Compress
	}
	return a.move(ctx, s, dest, a.MaxSize, command{name: "upload_directory", args: map[string]any{
		"path": s.onWorker(dir, source), "maxsize": limitArg(a.MaxSize),
		"blocksize": cmp.Or(a.BlockSize, defaultBlockSize), "compress": compress,
	}}, func(u Upload) (*receiver, error) {
		w, err := u.Directory(dest, a.Compress, a.MaxSize)
		return &receiver{DirectoryWriter: w}, err
	})
}

// named reports whether the names of what goes to dest are the configuration's
// choice. Where the worker alone chooses them, its files have no names among the
// master's own: one could take the place of a script there.
func (a uploadAction) named(dest, baseDir string) bool {
	dest = path.Clean(dest)
	if a.Kind == dormouse.UploadFiles && a.Glob {
		dest = path.Dir(dest)
	}
	return dest != "." && dest != path.Clean(baseDir)
}

// move carries one upload out: what came is kept once the worker says that it was
// all.
func (a uploadAction) move(ctx context.Context, s *step, dest string, limit int64, c command, begin func(Upload) (*receiver, error)) (dormouse.Result, error) {
	files, err := s.files()
	if err != nil {
		return dormouse.Exception, err
	}
	var up Upload
	var in *receiver
	discard := func() {
		if up != nil {
			up.Discard()
		}
	}
	defer func() { discard() }()
	hold := func(try func() error) error { return s.build.persist(ctx, try) }
	c.transfer = func() (wire.Transfer, error) {
		discard()
		err := hold(func() (err error) {
			up, err = files.Begin(s.build.job.Build)
			return err
		})
		if err != nil {
			up = nil
			return wire.Transfer{}, err
		}
		up.Hold(hold)
		if in, err = begin(up); err != nil {
			return wire.Transfer{}, err
		}
		return in.transfer(), nil
	}
	c.whole = func(end ended) error {
		if err := in.failure(); err != nil || !succeeded(end) {
			return err
		}
		list, leftOut, err := up.Publish(s.row.ID)
		if err != nil {
			up.Withdraw()
			return err
		}
		if err := s.build.persist(ctx, func() error { return files.Keep(ctx, s.build.job.Build.ID, list) }); err != nil {
			if dormouse.CodeOf(err) != dormouse.Unanswered { // else they may be listed
				up.Withdraw()
			}
			s.build.storeFailed(err)
			return err
		}
		if a.named(dest, files.BaseDir()) {
			if err := hold(up.Name); err != nil {
				return err
			}
		}
		return s.logs.append(ctx, stdio, dormouse.Header, lines(kept(list, leftOut)), nil)
	}
	end, err := s.run(ctx, c)
	if in != nil && ctx.Err() == nil && !errors.Is(err, wire.ErrConnectionLost) {
		if own := in.failure(); own != nil {
			err = own // not the worker's words about it
		}
	}
	switch {
	case err != nil && ctx.Err() == nil && s.build.storeErr == nil:
		return s.refusal(ctx, err)
	case err != nil:
		return dormouse.Exception, err
	case !succeeded(end) && limit > 0:
		s.header(ctx, fmt.Sprintf("nothing of it is kept; maxsize is %d bytes", limit))
		return dormouse.Failure, nil
	case !succeeded(end):
		s.header(ctx, "nothing of it is kept")
		return dormouse.Failure, nil
	}
	return dormouse.Success, nil
}

// shownArtifacts is how many files of a directory the log names.
const shownArtifacts = 20

// kept says what an upload has brought.
func kept(list []dormouse.Artifact, leftOut []string) []string {
	var out []string
	for i, a := range list {
		if i == shownArtifacts {
			out = append(out, fmt.Sprintf("… and %d more files", len(list)-i))
			break
		}
		out = append(out, fmt.Sprintf("kept %s: %d bytes, sha256 %s", a.Path, a.Bytes, a.SHA256))
	}
	if len(list) == 0 {
		out = append(out, "there is no file in it: nothing is kept")
	}
	for i, why := range leftOut {
		if i == shownArtifacts {
			out = append(out, fmt.Sprintf("… and %d more", len(leftOut)-i))
			break
		}
		out = append(out, "left out: "+why)
	}
	return out
}

// File types in Python's os.stat, which are those of POSIX.
const (
	typeMask    = 0o170000
	typeRegular = 0o100000
	typeDir     = 0o040000
)

// several uploads files and directories, each to its name below dest.
func (a uploadAction) several(ctx context.Context, s *step, p uploadPaths) (dormouse.Result, error) {
	sources := p.sources
	if a.Glob {
		var err error
		if sources, err = s.glob(ctx, p); err != nil {
			return dormouse.Exception, err
		}
	}
	if s.spec.DescriptionDone == "" {
		s.summary = fmt.Sprintf("uploading %d files", len(sources))
		if len(sources) == 1 {
			s.summary = "uploading 1 file"
		}
	}
	if len(sources) == 0 {
		return dormouse.Skipped, nil
	}
	worst := dormouse.Success
	for _, source := range sources {
		result, err := a.one(ctx, s, p, source)
		if err != nil {
			return result, err
		}
		if worst = dormouse.Worst(worst, result); worst == dormouse.Failure {
			break
		}
	}
	return worst, nil
}

// one uploads a file or a directory, whichever it is.
func (a uploadAction) one(ctx context.Context, s *step, p uploadPaths, source string) (dormouse.Result, error) {
	at := s.onWorker(p.dir, source)
	end, err := s.run(ctx, command{name: "stat", quiet: true, args: map[string]any{"path": at}})
	if err != nil {
		return dormouse.Exception, err
	}
	dest := path.Join(p.dest, base(source))
	switch {
	case end.RC != 0:
		s.header(ctx, "there is no "+at+" on the worker")
		return dormouse.Failure, nil
	case end.FileMode&typeMask == typeDir:
		return a.directory(ctx, s, p.dir, source, dest)
	case end.FileMode&typeMask == typeRegular:
		return a.file(ctx, s, p.dir, source, dest, a.MaxSize)
	}
	s.header(ctx, at+" is neither a file nor a directory")
	return dormouse.Failure, nil
}

// glob finds what the patterns match on the worker.
func (s *step) glob(ctx context.Context, p uploadPaths) ([]string, error) {
	var out []string
	for _, pattern := range p.sources {
		end, err := s.run(ctx, command{name: "glob", quiet: true, args: map[string]any{"path": s.onWorker(p.dir, pattern)}})
		if err != nil {
			return nil, err
		}
		if end.Truncated {
			return nil, dormouse.Errorf(dormouse.Invalid, "%s matches more files than can be uploaded one by one: upload their directory", pattern)
		}
		slices.Sort(end.Files)
		out = append(out, end.Files...)
	}
	return out, nil
}
