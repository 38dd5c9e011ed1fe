package wire

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// HeaderInstance is the request header in which our agent names the EC2
// instance it runs on. A stock worker sends none.
const HeaderInstance = "Dormouse-Instance"

// HeaderSession is the request header in which our agent names its process: a
// connection of the same session finds the commands of the one before it.
const HeaderSession = "Dormouse-Session"

// HeaderSecretHash is the request header in which our agent commits to the
// secret that it will attach with from then on: the SHA-256 of it, in hex. The
// password of the handshake, which a launch gave to the machine, is good for
// the first attachment only.
const HeaderSecretHash = "Dormouse-Secret-SHA256"

// HeaderMachine is the header in which our master gives an agent that attaches a
// token of its machine, and in which an agent shows that of an earlier process: it
// proves that both are of one machine, and so that the earlier one has ended.
const HeaderMachine = "Dormouse-Machine"

// maxName bounds a worker's name and instance id as they come in; what is
// longer cannot be configured, and would only fill logs.
const maxName = 256

// Hello is how a connection introduces itself in the handshake.
type Hello struct {
	Name       string
	Password   string
	RemoteAddr string
	InstanceID string // from our agent only
	Session    string // of the agent's process; from our agent only
	// SecretHash is what the agent commits to: see HeaderSecretHash. "" is
	// nothing.
	SecretHash string
	// Machine is the token of an earlier process's: see HeaderMachine. "" is none.
	Machine string
	// Agent is the User-Agent of the handshake; "buildbot-worker x" for a
	// stock worker, once it has said its version.
	Agent string
	// Extensions are those that both sides can.
	Extensions Extensions
}

// String describes the connection without its password.
func (h Hello) String() string {
	s := fmt.Sprintf("worker %q from %s", h.Name, h.RemoteAddr)
	if h.InstanceID != "" {
		s += " on " + h.InstanceID
	}
	return s
}

// GoString is String: %#v shows no password either.
func (h Hello) GoString() string { return h.String() }

// LogValue describes the connection without its password.
func (h Hello) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("name", h.Name), slog.String("remote", h.RemoteAddr),
		slog.String("instance", h.InstanceID), slog.String("agent", h.Agent))
}

// helloFrom reads the handshake's headers. Without an Authorization header the
// Hello has no name.
func helloFrom(r *http.Request) (Hello, error) {
	h := Hello{
		RemoteAddr: r.RemoteAddr,
		InstanceID: r.Header.Get(HeaderInstance),
		Session:    r.Header.Get(HeaderSession),
		SecretHash: r.Header.Get(HeaderSecretHash),
		Machine:    r.Header.Get(HeaderMachine),
		Agent:      shorten(strings.ToValidUTF8(r.UserAgent(), "\uFFFD"), maxName),
		Extensions: extensions.common(r.Header),
	}
	for name, value := range map[string]string{HeaderInstance: h.InstanceID, HeaderSession: h.Session, HeaderSecretHash: h.SecretHash, HeaderMachine: h.Machine} {
		if len(value) > maxName {
			return h, errors.New("the " + name + " header is too long")
		}
	}
	value := r.Header.Get("Authorization")
	if value == "" {
		return h, nil
	}
	scheme, encoded, _ := strings.Cut(value, " ")
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	name, password, found := strings.Cut(string(plain), ":")
	if !strings.EqualFold(scheme, "Basic") || err != nil || !found || name == "" || len(name) > maxName {
		return h, errors.New("the Authorization header is not HTTP Basic authentication with a worker's name and password")
	}
	h.Name, h.Password = name, password
	return h, nil
}

// EqualSecret reports whether two secrets are the same, in a time that says
// nothing of either, not even its length.
func EqualSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
