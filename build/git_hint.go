package build

import (
	"net/url"
	"regexp"
	"strings"
)

// hint says what to do about the failures that people meet most, from what the
// command that failed has said.
func (c *checkout) hint(err *gitError) string {
	if err.hint != "" {
		return err.hint
	}
	at := c.addressOf(err)
	switch {
	case err.says("dubious ownership"):
		return "git does not trust a repository that belongs to another user. If it may, run as the worker's user: " +
			"git config --global --add safe.directory " + quoteShell(c.ownedElsewhere(err))
	case err.says("No space left on device", "Disk quota exceeded"):
		return "the worker's disk is full"
	case err.says("transport '") && err.says("' not allowed"):
		return c.hintOfTransport(err, at)
	case err.is("submodule") && isRefused(err):
		return "a commit that the repository names is not in " + at.name + ", or on nothing that its server gives: push it there"
	case err.says(".lock': File exists"):
		return "an interrupted git has left a lock file in " + c.dir + " that the step cannot remove"
	}
	if hint := c.hintOfSSH(err, at); hint != "" {
		return hint
	}
	return c.hintOfServer(err, at)
}

func (c *checkout) hintOfSSH(err *gitError, at address) string {
	switch {
	case err.says("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"):
		if c.key != nil && c.key.knownHosts != "" {
			return "the server of " + at.name + " shows another key than the step expects: compare it with what its operator publishes, " +
				"then give it as sshKnownHosts or sshHostKey"
		}
		return "the worker's user does not know the key of the server of " + at.name + ": give it as sshKnownHosts (ssh-keyscan prints it: " +
			"compare it with what its operator publishes), or add it to the user's ~/.ssh/known_hosts"
	case c.key != nil && err.says("error in libcrypto", "invalid format", "incorrect passphrase") && err.says("Load key "):
		return "sshPrivateKey is not a private key that OpenSSH can read without a passphrase"
	case err.says("Permission denied (") && c.key != nil:
		return "the server refuses sshPrivateKey: add its public key to those that may read " + at.name
	case err.says("Permission denied ("):
		return "the server wants to know who asks: give the step sshPrivateKey, or the worker's user a key for " + at.name
	}
	return ""
}

func (c *checkout) hintOfServer(err *gitError, at address) string {
	known := c.login != nil && at.server == c.login.server
	switch {
	case known && err.says("Authentication failed", "returned error: 403"):
		return "the server refuses auth_credentials: the user or the token is wrong or has expired, or may not read " + at.name
	case c.login != nil && !known && err.says("terminal prompts disabled", "Authentication failed", "could not read Username"):
		return "the server wants to know who asks, and auth_credentials are for that of " + c.shown + " alone: give the worker's user a token for " + at.name
	case err.says("terminal prompts disabled", "Authentication failed", "could not read Username"):
		return "the server wants to know who asks: give the step auth_credentials, or the worker's user a token for " + at.name
	case err.says("returned error: 403"):
		return "the server does not let the worker's user read " + at.name
	case err.says("does not appear to be a git repository", "Repository not found", "repository not found"),
		err.says("repository '") && err.says("' not found", "' does not exist"), err.remote("not found", "does not exist"):
		return "there is no repository at " + at.name + ", or the worker's user may not see it"
	case err.says("Could not resolve host"):
		return "the worker cannot resolve the host of " + at.name
	case err.says("Connection refused", "Connection timed out", "Failed to connect", "Network is unreachable", "No route to host"):
		return "the worker cannot reach the server of " + at.name
	}
	return ""
}

// remote reports whether the server said one of some texts of a repository.
func (e *gitError) remote(texts ...string) bool {
	for _, line := range e.said {
		for _, prefix := range []string{"remote: ERROR: ", "ERROR: ", "remote: Repository", "fatal: remote error: "} {
			if !strings.HasPrefix(line, prefix) || !strings.Contains(strings.ToLower(line), "repository") {
				continue
			}
			for _, text := range texts {
				if strings.Contains(line, text) {
					return true
				}
			}
		}
	}
	return false
}

func (c *checkout) hintOfTransport(err *gitError, at address) string {
	if err.says("transport 'file'") && err.is("submodule") {
		return "git refuses local submodules unless the worker's user allows them: git config --global protocol.file.allow always"
	}
	return "git refuses that kind of URL: " + at.name
}

// address is a repository that a command failed at.
type address struct {
	name   string // for people
	server string // as git's configuration names it, "" where it is not on HTTP
}

var (
	clonesSubmodule = regexp.MustCompile(`clone of '(.+)' into submodule path '(.+)' failed`)
	namesSubmodule  = regexp.MustCompile(`[Ii]n submodule path '(.+?)'`)
	namesURL        = regexp.MustCompile(`'(https?://[^']+)'`)
)

// addressOf finds out which repository git speaks of: the step's own, or a
// submodule.
func (c *checkout) addressOf(err *gitError) address {
	at := address{name: c.shown}
	if err.is("submodule") {
		at.name = "a submodule's repository"
	}
	where := c.url
	for _, line := range err.said {
		if m := namesURL.FindStringSubmatch(line); m != nil {
			where = m[1]
		}
		if !err.is("submodule") {
			continue
		}
		if m := clonesSubmodule.FindStringSubmatch(line); m != nil {
			at.name = "submodule " + strings.TrimPrefix(m[2], c.dir+"/") + ", " + m[1]
		} else if m := namesSubmodule.FindStringSubmatch(line); m != nil {
			at.name = "submodule " + m[1]
		}
	}
	if u, err := url.Parse(where); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		at.server = u.Scheme + "://" + u.Host
	}
	return at
}

var dubious = regexp.MustCompile(`dubious ownership in repository at '(.+)'`)

// ownedElsewhere is the path that git complained of.
func (c *checkout) ownedElsewhere(err *gitError) string {
	for _, line := range err.said {
		if m := dubious.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return strings.TrimPrefix(c.url, "file://")
}

func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
