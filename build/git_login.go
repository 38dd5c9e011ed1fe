package build

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// login is who git says it is over HTTP. It has a helper of our own, which reads
// the environment of that one command, so that the password is in no file and in
// no argument, and which is asked for one server alone.
type login struct {
	user, password string
	server         string // as git's configuration names it
}

// The variables that the helper reads.
const (
	userVariable     = "DORMOUSE_GIT_USER"
	passwordVariable = "DORMOUSE_GIT_PASSWORD"
)

// askLogin is the helper, in any POSIX shell. Git also tells it what to store and
// to erase, which it does not do.
const askLogin = `!f() { test "$1" = get && printf 'username=%b\npassword=%b\n' "$` + userVariable + `" "$` + passwordVariable + `"; }; f`

// options put the helper in the place of all others that git has for the server:
// one of them would write the password down.
func (l *login) options() []string {
	name := "credential." + l.server + ".helper"
	return []string{"-c", name + "=", "-c", name + "=" + askLogin}
}

// addTo adds what the helper reads to an environment.
func (l *login) addTo(env map[string]any) {
	env[userVariable], env[passwordVariable] = escape(l.user), escape(l.password)
}

// escape writes a text as printf's %b reads it back. A worker replaces ${NAME} in
// what it puts into the environment, which a password can have by chance.
func escape(s string) string {
	const plain = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.~"
	var out strings.Builder
	for i := range len(s) {
		if strings.IndexByte(plain, s[i]) >= 0 {
			out.WriteByte(s[i])
		} else {
			fmt.Fprintf(&out, `\0%03o`, s[i])
		}
	}
	return out.String()
}

// renderLogin renders the user and the password, and masks them in every form
// that git and curl may write them in.
func (c *checkout) renderLogin() error {
	if c.Credentials == nil {
		return nil
	}
	l := &login{}
	var err error
	if l.user, err = c.step.text("auth_credentials: the user", c.Credentials.User); err != nil {
		return err
	}
	if l.password, err = c.step.text("auth_credentials: the password", c.Credentials.Password); err != nil {
		return err
	}
	const shown = "<auth_credentials>"
	c.step.build.mask.add(l.password, shown)
	c.step.build.mask.add(escape(l.password), shown)
	c.step.build.mask.add(url.QueryEscape(l.password), shown)
	c.step.build.mask.add(url.PathEscape(l.password), shown)
	c.step.build.mask.add(base64.StdEncoding.EncodeToString([]byte(l.user+":"+l.password)), shown)
	switch {
	case l.user == "" || l.password == "":
		return dormouse.Errorf(dormouse.Invalid, "auth_credentials: the user or the password is empty")
	case hasControl(l.user) || hasControl(l.password):
		return dormouse.Errorf(dormouse.Invalid, "auth_credentials: the user or the password has a line's end in it, or another control character")
	}
	c.login = l
	return nil
}

// plainServer is a host, with a port or without: git takes a star for any.
var plainServer = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

// addressLogin finds out which server the login is for.
func (c *checkout) addressLogin() error {
	if c.login == nil {
		return nil
	}
	u, err := url.Parse(c.url)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !plainServer.MatchString(u.Host) {
		return dormouse.Errorf(dormouse.Invalid, "auth_credentials are for repositories at https:// and http://, which %s is not", c.shown)
	}
	c.login.server = u.Scheme + "://" + u.Host
	return nil
}
