package build

import (
	"context"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// sshKey is a key to log in with, and the servers' keys, which are on the worker
// only while the step needs them: in a directory beside the checkout, where git
// does not look, and which the worker's user alone can read.
type sshKey struct {
	private, knownHosts string
	parent, dir         string // on the worker
}

// keyDirectory begins the names of the directories with keys.
const keyDirectory = ".dormouse-git-"

func (k *sshKey) privateFile() string    { return k.dir + "/key" }
func (k *sshKey) knownHostsFile() string { return k.dir + "/known_hosts" }

// command is ssh with this key and no other. A server that is not known is not
// trusted: a machine that is made for each build would trust any.
func (k *sshKey) command() string {
	words := []string{
		"ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
		"-o", "IdentitiesOnly=yes", "-o", sshOption("IdentityFile", k.privateFile()),
		"-o", "ControlPath=none", // what another key has opened is not used, nor is this left open
	}
	if k.knownHosts != "" {
		words = append(words, "-o", sshOption("UserKnownHostsFile", k.knownHostsFile()), "-o", "GlobalKnownHostsFile=/dev/null")
	}
	for i, w := range words {
		if strings.ContainsAny(w, " \"'\\$`%*?[]()<>|&;~#!") {
			words[i] = quoteShell(w)
		}
	}
	return strings.Join(words, " ")
}

// sshOption names a file to ssh, which splits what has blanks and replaces what
// begins with a percent sign.
func sshOption(name, file string) string {
	return name + `="` + strings.ReplaceAll(file, "%", "%%") + `"`
}

// renderKey renders the keys, and masks them.
func (c *checkout) renderKey() error {
	if c.SSHPrivateKey == nil {
		if c.SSHHostKey != nil || c.SSHKnownHosts != nil {
			return dormouse.Errorf(dormouse.Invalid, "sshHostKey and sshKnownHosts need sshPrivateKey")
		}
		return nil
	}
	private, err := c.step.text("sshPrivateKey", c.SSHPrivateKey)
	if err != nil {
		return err
	}
	c.step.build.mask.add(private, "<sshPrivateKey>")
	hostKey, err := c.step.text("sshHostKey", c.SSHHostKey)
	if err != nil {
		return err
	}
	c.step.build.mask.add(hostKey, "<sshHostKey>")
	knownHosts, err := c.step.text("sshKnownHosts", c.SSHKnownHosts)
	if err != nil {
		return err
	}
	c.step.build.mask.add(knownHosts, "<sshKnownHosts>")
	for _, field := range strings.Fields(hostKey + " " + knownHosts) {
		if len(field) >= longKey {
			c.step.build.mask.add(field, "<sshHostKey>")
		}
	}
	switch {
	case strings.TrimSpace(private) == "":
		return dormouse.Errorf(dormouse.Invalid, "sshPrivateKey is empty")
	case c.SSHHostKey != nil && c.SSHKnownHosts != nil:
		return dormouse.Errorf(dormouse.Invalid, "there is either sshHostKey or sshKnownHosts, not both")
	case c.SSHHostKey != nil:
		if knownHosts, err = anyHost(hostKey); err != nil {
			return err
		}
	case c.SSHKnownHosts != nil && strings.TrimSpace(knownHosts) == "":
		return dormouse.Errorf(dormouse.Invalid, "sshKnownHosts is empty")
	}
	c.key = &sshKey{private: wholeLines(private), knownHosts: wholeLines(knownHosts)}
	return nil
}

// longKey is the length from which a word is a key rather than a server's name
// or the kind of a key; the shortest has 68 characters.
const longKey = 60

// anyHost makes a file of known hosts of keys that any server may have.
func anyHost(keys string) (string, error) {
	var out strings.Builder
	for line := range strings.Lines(keys) {
		switch fields := strings.Fields(line); {
		case len(fields) == 0:
		case len(fields) == 1:
			return "", dormouse.Errorf(dormouse.Invalid, "sshHostKey is not a host's key, which is its kind and its text: ssh-ed25519 AAAA…")
		default:
			out.WriteString("* " + strings.Join(fields, " ") + "\n")
		}
	}
	if out.Len() == 0 {
		return "", dormouse.Errorf(dormouse.Invalid, "sshHostKey is empty")
	}
	return out.String(), nil
}

// wholeLines is a text as a file of lines: OpenSSH does not read a key whose last
// line has no end, as a secret's has not.
func wholeLines(text string) string {
	text = strings.Trim(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	if text == "" {
		return ""
	}
	return text + "\n"
}

// placeOfKey finds a place for the key: in the builder's directory or, where that
// is the checkout, beside it.
func (c *checkout) placeOfKey() error {
	if c.key == nil {
		return nil
	}
	s := c.step
	builder := s.path(".")
	c.key.parent = builder
	if clean(c.dir) == clean(builder) {
		c.key.parent = s.build.worker.Path()
	}
	c.key.dir = s.onWorker(c.key.parent, c.keyPrefix()+strconv.FormatInt(s.build.job.Build.ID, 10))
	if strings.ContainsAny(c.key.dir, "\"\n") || strings.Contains(c.key.dir, "${") || strings.HasPrefix(c.key.dir, "/") && strings.Contains(c.key.dir, `\`) {
		return dormouse.Errorf(dormouse.Invalid, "ssh cannot be told of a key in %q, for the characters in it", c.key.dir)
	}
	return nil
}

func clean(dir string) string { return path.Clean(strings.ReplaceAll(dir, `\`, "/")) }

// keyPrefix is what the directories of this builder's keys are called, up to the
// build's number.
func (c *checkout) keyPrefix() string {
	return keyDirectory + path.Base(BuildDir(c.step.build.job.Builder)) + "-"
}

// withKey does something while the key is on the worker.
func (c *checkout) withKey(ctx context.Context, do func() error) (err error) {
	if c.key == nil {
		return do()
	}
	defer func() {
		if errors.Is(err, wire.ErrConnectionLost) || errors.Is(err, ErrLeft) {
			return // the next build takes it away, or the next master
		}
		if failed := c.removeKey(ctx); err == nil {
			err = failed
		}
	}()
	if err := c.placeKey(ctx); err != nil {
		return err
	}
	return do()
}

// placeKey writes the key on the worker.
func (c *checkout) placeKey(ctx context.Context) error {
	if err := c.sweepKeys(ctx); err != nil {
		return err
	}
	// No other user may look into it, from its first moment.
	if _, err := c.tool(ctx, toolRun{name: "mkdir", args: []string{"-m", "700", "--", c.key.dir}, dir: c.key.parent, env: c.env}); err != nil {
		return err
	}
	if err := c.write(ctx, c.key.privateFile(), c.key.private); err != nil || c.key.knownHosts == "" {
		return err
	}
	return c.write(ctx, c.key.knownHostsFile(), c.key.knownHosts)
}

// write writes a file that is the worker's user's own.
func (c *checkout) write(ctx context.Context, dest, text string) error {
	result, err := c.step.download(ctx, dest, func() (io.ReadCloser, error) {
		return textFile{strings.NewReader(text)}, nil
	}, dormouse.Download{Mode: 0o600, HasMode: true})
	if err == nil && result != dormouse.Success {
		err = &gitError{what: "write " + dest}
	}
	return err
}

// sweepKeys removes the keys of builds that were lost with their worker's
// connection. A builder has one build at a time on a worker.
func (c *checkout) sweepKeys(ctx context.Context) error {
	names, err := c.list(ctx, c.key.parent)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, ok := strings.CutPrefix(name, c.keyPrefix())
		if _, err := strconv.ParseUint(number, 10, 63); !ok || err != nil {
			continue
		}
		if err := c.remove(ctx, c.step.onWorker(c.key.parent, name)); err != nil {
			return err
		}
	}
	return nil
}

// removeKey removes the key from the worker, also when the step's context has
// ended. Then it is not in the journal: whoever goes on with the step gets there
// by another way, and removes it again.
func (c *checkout) removeKey(ctx context.Context) error {
	if ctx.Err() == nil {
		err := c.remove(ctx, c.key.dir)
		if err == nil || ctx.Err() == nil {
			return err
		}
	}
	b := c.step.build
	if b.left(ctx) || !stopped(ctx) && !b.abandon() {
		return nil // the next master needs it
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer done()
	r, err := b.worker.Start(last, wire.Command{
		Name: "rmdir", Builder: b.job.Builder.Name,
		Args: map[string]any{"paths": []any{c.key.dir}, "logEnviron": false},
	}, func(context.Context, wire.Update) error { return nil })
	if err == nil {
		err = r.Wait(last)
	}
	if err != nil {
		b.log.Warn("a key may be left on the worker until the builder's next build there", "dir", c.key.dir, "error", err)
	}
	return nil
}
