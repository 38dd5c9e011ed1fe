package build

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// refuse refuses what git would take for something else than it is meant as.
func (c *checkout) refuse() error {
	invalid := func(format string, args ...any) error { return dormouse.Errorf(dormouse.Invalid, format, args...) }
	switch {
	case c.url == "":
		return invalid("the repository's URL is empty")
	case strings.HasPrefix(c.url, "-"), strings.HasPrefix(c.url, "ext::"), hasControl(c.url):
		return invalid("%q is not a repository's URL", c.shown)
	case !safeRef(c.branch) || strings.ContainsAny(c.branch, "~^") || strings.Contains(c.branch, "@{"):
		return invalid("%q is not a branch's name", c.branch)
	case !safeRef(c.revision):
		return invalid("%q is not a revision", c.revision)
	case !safeRef(c.origin):
		return invalid("origin: %q cannot name a remote", c.origin)
	case strings.HasPrefix(c.reference, "-"), hasControl(c.reference):
		return invalid("reference: %q is not a repository's path", c.reference)
	}
	for _, f := range c.Filters {
		if f == "" || strings.HasPrefix(f, "-") || hasControl(f) {
			return invalid("%q is not a filter", f)
		}
	}
	return nil
}

// safeRef reports whether git can take a name for nothing but a ref or a
// revision: no option, no refspec, no range.
func safeRef(name string) bool {
	return !strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "+") && !strings.ContainsAny(name, " \t\r\n\x00:*?[\\") && !strings.Contains(name, "..")
}

// hasControl reports whether a text has what cannot be seen, as a line's end.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// renderConfig makes options of the configuration, which hold for git and for
// what it runs in submodules.
func (c *checkout) renderConfig() ([]string, error) {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.Config)) {
		if err := dormouse.CheckGitConfig(name); err != nil {
			return nil, err
		}
		value, err := c.step.text("config "+name, c.Config[name])
		if err != nil {
			return nil, err
		}
		if c.step.build.mask.apply(value) != value {
			return nil, dormouse.Errorf(dormouse.Invalid, "config %s cannot hold a secret: it becomes an argument of git", name)
		}
		if strings.ContainsRune(value, 0) {
			return nil, dormouse.Errorf(dormouse.Invalid, "config %s has a NUL character", name)
		}
		out = append(out, "-c", name+"="+value)
		if strings.EqualFold(name, "protocol.allow") {
			out = append(out, "-c", dormouse.GitAllowsCommands+"=never")
		}
	}
	return out, nil
}

// remote is the name of the remote.
func (c *checkout) remote() string { return cmp.Or(c.origin, "origin") }

func (c *checkout) progress(command string) []string {
	if c.Progress {
		return []string{command, "--progress"}
	}
	return []string{command}
}

func (c *checkout) depth() []string {
	if c.Shallow <= 0 {
		return nil
	}
	return []string{"--depth", strconv.Itoa(c.Shallow)}
}

func (c *checkout) filters() []string {
	var out []string
	for _, f := range c.Filters {
		out = append(out, "--filter", f)
	}
	return out
}

// renderSecrets renders what is to be masked.
func (c *checkout) renderSecrets() error {
	return errors.Join(c.renderKey(), c.renderLogin())
}
