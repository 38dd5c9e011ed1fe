package build

import (
	"context"

	"github.com/dormouse-ci/dormouse"
)

// fileAction does something to files on the worker.
type fileAction struct{ dormouse.FileCommand }

var _ = does(func(a dormouse.FileCommand) action { return fileAction{a} })

// fileWords are what steps on files are called, and what they say when they have
// ended well and badly.
var fileWords = map[dormouse.FileOperation]struct{ name, done, failed string }{
	dormouse.MakeDirectory:   {"MakeDirectory", "Created", "Create failed."},
	dormouse.RemoveDirectory: {"RemoveDirectory", "Deleted", "Delete failed."},
	dormouse.CopyDirectory:   {"CopyDirectory", "Copied", "Copy failed."},
	dormouse.FileExists:      {"FileExists", "File found.", "File not found."},
}

func (a fileAction) defaultName() string { return fileWords[a.Do].name }

// paths are the paths, rendered and absolute, on the worker.
func (a fileAction) paths(s *step) (paths, shown []string, err error) {
	for _, v := range a.Paths {
		p, err := s.text("a path", v)
		if err == nil && p == "" {
			err = dormouse.Errorf(dormouse.Invalid, "a path is empty")
		}
		if err != nil {
			return nil, nil, err
		}
		shown = append(shown, p)
		paths = append(paths, s.path(p))
	}
	return paths, shown, nil
}

// reveal implements action.
func (a fileAction) reveal(s *step) { _, _, _ = a.paths(s) }

func (a fileAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	paths, shown, err := a.paths(s)
	if err != nil {
		return dormouse.Exception, err
	}
	args := map[string]any{"logEnviron": false}
	switch a.Do {
	case dormouse.MakeDirectory, dormouse.RemoveDirectory:
		args["paths"] = []any{paths[0]}
	case dormouse.CopyDirectory:
		args["from_path"], args["to_path"] = paths[0], paths[1]
	default:
		args["path"] = paths[0]
	}
	if a.Do == dormouse.RemoveDirectory || a.Do == dormouse.CopyDirectory {
		args["timeout"], args["maxTime"] = seconds(a.Timeout), seconds(a.MaxTime)
	}
	end, err := s.run(ctx, command{name: string(a.Do), args: args})
	if err != nil {
		return dormouse.Exception, err
	}
	words := fileWords[a.Do]
	if s.spec.DescriptionDone != "" {
		words.done, words.failed = s.spec.DescriptionDone, s.spec.DescriptionDone
	} else if a.Do == dormouse.CopyDirectory {
		words.done += " " + shown[0] + " to " + shown[1]
	}
	if !succeeded(end) {
		s.summary = words.failed
		return dormouse.Failure, nil
	}
	if a.Do == dormouse.FileExists && end.FileMode&typeMask != typeRegular {
		s.summary = "Not a file."
		return dormouse.Failure, nil
	}
	s.summary = words.done
	return dormouse.Success, nil
}
