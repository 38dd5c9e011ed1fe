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
	c.step.header(ctx, c.explain(git))
	if hint := c.hint(); hint != "" {
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

// hint says what to do about the failures that people meet most.
func (c *checkout) hint() string {
	said := strings.Join(c.said, "\n")
	has := func(part string) bool { return strings.Contains(said, part) }
	switch {
	case has("dubious ownership"):
		return "git does not trust a repository that belongs to another user. If it may, run as the worker's user: " +
			"git config --global --add safe.directory " + quoteShell(c.ownedElsewhere())
	case has("Host key verification failed"), has("REMOTE HOST IDENTIFICATION HAS CHANGED"):
		if c.key != nil && c.key.knownHosts != "" {
			return "the server of " + c.shown + " shows another key than the step expects: compare it with what its operator publishes, " +
				"then give it as sshKnownHosts or sshHostKey"
		}
		return "the worker's user does not know the key of the server of " + c.shown + ": give it as sshKnownHosts (ssh-keyscan prints it: " +
			"compare it with what its operator publishes), or add it to the user's ~/.ssh/known_hosts"
	case c.key != nil && (has("error in libcrypto") || has("invalid format") || has("incorrect passphrase")):
		return "sshPrivateKey is not a private key that OpenSSH can read without a passphrase"
	case has("Permission denied (") && c.key != nil:
		return "the server refuses sshPrivateKey: add its public key to those that may read " + c.shown
	case has("Permission denied ("):
		return "the server wants to know who asks: give the step sshPrivateKey, or the worker's user a key for " + c.shown
	case c.login != nil && (has("Authentication failed") || has("returned error: 403")):
		return "the server refuses auth_credentials: the user or the token is wrong or has expired, or may not read " + c.shown
	case has("terminal prompts disabled"), has("Authentication failed"), has("could not read Username"):
		return "the server wants to know who asks: give the step auth_credentials, or the worker's user a token for " + c.shown
	case has("does not appear to be a git repository"), has("Repository not found"), has("repository not found"), has("does not exist"):
		return "there is no repository at " + c.shown + ", or the worker's user may not see it"
	case has("Could not resolve host"):
		return "the worker can not resolve the host of " + c.shown
	case has("couldn't find remote ref"), has("Remote branch"):
		return "branch " + c.branch + " is not in " + c.shown
	case has("not our ref"), has("no such remote ref"):
		return "revision " + c.revision + " is not in " + c.shown
	case has("transport 'file' not allowed"):
		return "git refuses local submodules unless the worker's user allows them: git config --global protocol.file.allow always"
	case has(".lock': File exists"):
		return "an interrupted git left a lock file in " + c.dir + "; the step recovers with mode full and method clobber"
	}
	return ""
}

var dubious = regexp.MustCompile(`dubious ownership in repository at '(.+)'`)

// ownedElsewhere is the path that git complained of.
func (c *checkout) ownedElsewhere() string {
	for _, line := range c.said {
		if m := dubious.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return strings.TrimPrefix(c.url, "file://")
}

func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// gitError is a command that ran and failed.
type gitError struct {
	what   string
	code   int
	reason string
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

func isGitError(err error) bool {
	_, ok := errors.AsType[*gitError](err)
	return ok
}
