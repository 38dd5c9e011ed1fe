package build

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// failed says in the log what could not be done, and what to do.
func (c *checkout) failed(ctx context.Context, err error) (dormouse.Result, error) {
	git, ok := errors.AsType[*gitError](err)
	if !ok {
		return dormouse.Exception, err
	}
	c.step.note = failureNote(git.reason)
	if git.quiet {
		for _, line := range git.said {
			c.step.header(ctx, line)
		}
	}
	c.step.header(ctx, c.explain(git))
	if hint := c.hint(git); hint != "" {
		c.step.header(ctx, hint)
	}
	return dormouse.Failure, nil
}

func (c *checkout) explain(err *gitError) string {
	var of []string
	if c.branch != "" {
		of = append(of, "branch "+c.branch)
	}
	if c.revision != "" {
		of = append(of, "revision "+c.revision)
	}
	text := "checkout of " + c.shown
	if len(of) > 0 {
		text += " (" + strings.Join(of, ", ") + ")"
	}
	return text + " failed: could not " + err.Error()
}

// missingRef is the failure to find a branch, a tag or another ref; "" is the
// default branch.
func (c *checkout) missingRef(name string) error {
	switch {
	case name == "":
		return &gitError{
			what: "find its default branch", missing: true,
			hint: c.shown + " is empty, or its HEAD names a branch that is not there: give the step a branch",
		}
	case strings.HasPrefix(name, "refs/"):
		return &gitError{what: "find " + name, missing: true, hint: name + " is not in " + c.shown}
	}
	return &gitError{
		what: "find branch " + name, missing: true,
		hint: "branch " + name + " is not in " + c.shown + ", nor is a tag of that name",
	}
}

// missingRevision is the failure to find a revision that is not the whole name of
// a commit.
func (c *checkout) missingRevision(short bool) error {
	err := &gitError{what: "find revision " + c.revision, missing: true, hint: "revision " + c.revision + " is not in " + c.shown}
	if short && c.shallow() {
		err.hint = "a server gives no commit by the beginning of its name: a shallow checkout needs all of revision " + c.revision
	}
	return err
}

// refusedRevision is the failure to get a commit by its name.
func (c *checkout) refusedRevision(by error) error {
	err := &gitError{what: "fetch revision " + c.revision, missing: true}
	if git, ok := errors.AsType[*gitError](by); ok && !git.says("unadvertised object") {
		err.hint = "revision " + c.revision + " is not in " + c.shown + ", or on nothing that its server gives"
		return err
	}
	err.hint = "the server of " + c.shown + " does not give revision " + c.revision + " by its name, and it is on no branch"
	if c.shallow() {
		err.hint = fmt.Sprintf("the server of %s does not give revision %s by its name, and it is not among the last %d commits of what was asked for: "+
			"check out with more of the history", c.shown, c.revision, c.Shallow)
	}
	err.hint += " (a server gives all its commits with uploadpack.allowAnySHA1InWant)"
	return err
}

// ambiguous is the failure to know which commit is meant.
func (c *checkout) ambiguous(commits []string) error {
	return &gitError{
		what: "tell which revision " + c.revision + " is",
		hint: "the names of several commits begin so: " + strings.Join(commits, ", "),
	}
}

// gitError is a command that ran and failed.
type gitError struct {
	what   string
	code   int
	reason string
	args   []string // git's, nil of another program
	said   []string // the last lines of its stderr
	quiet  bool     // the log does not have them
	hint   string   // what to do, where that is known
	// missing says that the server does not have what was asked for.
	missing bool
}

func (e *gitError) Error() string {
	switch {
	case e.reason != "":
		return e.what + " (" + failureNote(e.reason) + ")"
	case e.code != 0:
		return fmt.Sprintf("%s (exit code %d)", e.what, e.code)
	}
	return e.what
}

// says reports whether git itself said one of some texts: not the server, whose
// words it passes on.
func (e *gitError) says(texts ...string) bool {
	for _, line := range e.said {
		if strings.HasPrefix(line, "remote: ") {
			continue
		}
		for _, text := range texts {
			if strings.Contains(line, text) {
				return true
			}
		}
	}
	return false
}

// is reports whether it was this command of git's.
func (e *gitError) is(command string) bool { return len(e.args) > 0 && e.args[0] == command }

func isGitError(err error) bool {
	_, ok := errors.AsType[*gitError](err)
	return ok
}

// codeOf is the exit code of a command that failed.
func codeOf(err error) int {
	if git, ok := errors.AsType[*gitError](err); ok {
		return git.code
	}
	return 0
}

// isMissing reports whether the server does not have the ref that was asked for.
func isMissing(err error) bool {
	git, ok := errors.AsType[*gitError](err)
	return ok && (git.missing || git.is("fetch") && git.says("couldn't find remote ref", "Couldn't find remote ref"))
}

// isRefused reports whether the server did not give a commit by its name.
func isRefused(err error) bool {
	git, ok := errors.AsType[*gitError](err)
	return ok && git.says("not our ref", "unadvertised object", "no such remote ref", " not valid", "but it did not contain")
}

// damage is what git says of a repository that it cannot work with, whatever is
// asked of it.
var damage = regexp.MustCompile(`\.lock': File exists` +
	`|not (a git repository|in a git directory)` +
	`|object file .* is empty` +
	`|(object|packfile|pack|index file|index|tree|commit-graph|multi-pack-index|shallow).* (is |seems )?(corrupt|truncated)` +
	`|object corrupt or missing|corrupt loose object|loose object .*\(stored in` +
	`|unable to (read|parse|unpack|find|resolve|mmap|map) (tree|object|commit|sha1 file|reference|HEAD|[0-9a-f]{40})` +
	`|(bad|missing|invalid|broken) (object|tree|blob|commit|tag|ref|sha1 pointer|index|config line|config file|config value|shallow)\b` +
	`|(bad|invalid) (signature|index file|numeric config value)|index file (smaller|corrupt)|bad config|unknown index entry format` +
	`|could not (parse|read) (object|commit|[0-9a-f]{40})|Could not (parse|read) (object|commit|[0-9a-f]{40})` +
	`|[Ff]ailed to (traverse parents|read object|parse (commit|tree)|read delta|unpack tree)` +
	`|did not send all necessary objects|packed-refs|reference broken|ignoring broken ref|revision walk setup failed` +
	`|packfile .* (cannot be accessed|does not match index|is not a GIT packfile)|inflate: data stream error|garbage at end of` +
	`|does not point to a valid object|cannot be resolved to a commit|you must run this operation in a work tree|must be run in a work tree` +
	`|shallow file has changed|unordered stage entries|cache entry out of order|core\.repositoryformatversion|unknown repository extension` +
	`|already exists and is not an empty directory|lose untracked files|could not get a repository handle for submodule` +
	`|Unable to find current revision in submodule path|Needed a single revision`)

// damaged reports whether a failure is the fault of the repository that is there.
// Where all that a build made goes anyway, one that cannot be cleaned is as bad.
func (c *checkout) damaged(err error) bool {
	git, ok := errors.AsType[*gitError](err)
	if !ok || git.reason != "" || git.missing {
		return false
	}
	for _, line := range git.said {
		if damage.MatchString(line) && !strings.HasPrefix(line, "remote: ") {
			return true
		}
	}
	return c.method == "fresh" && git.is("clean")
}
