package wire

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
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

// maxName bounds a worker's name and instance id as they come in; what is
// longer can not be configured, and would only fill logs.
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
		Agent:      shorten(strings.ToValidUTF8(r.UserAgent(), "\uFFFD"), maxName),
		Extensions: extensions.common(r.Header),
	}
	for name, value := range map[string]string{HeaderInstance: h.InstanceID, HeaderSession: h.Session, HeaderSecretHash: h.SecretHash} {
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

// The brake makes guessing slow without ever making a right password wait.
const (
	// brakeFree failures in a row cost nothing: a worker that restarts with a
	// mistyped password is told at once.
	brakeFree = 5
	// From then on each failure doubles the wait, from the first to the most.
	brakeFirst = 100 * time.Millisecond
	brakeMost  = 3 * time.Second
	// brakeForget is when an address that was quiet starts anew.
	brakeForget = time.Minute
	// brakeSlots is the size of the table. Addresses that share a slot share
	// their waits, which only those who fail notice.
	brakeSlots = 1024
	// brakeHeld bounds how many failures wait at once; each costs a goroutine
	// and a socket. Beyond that, failures are answered at once.
	brakeHeld = 64
)

// brake delays the answer to handshakes that failed, by remote address, in a
// table of fixed size.
type brake struct {
	seed  maphash.Seed
	held  chan struct{}
	mu    sync.Mutex
	slots [brakeSlots]struct {
		failures int
		last     time.Time
	}
}

func newBrake() *brake {
	return &brake{seed: maphash.MakeSeed(), held: make(chan struct{}, brakeHeld)}
}

// hold counts a failure from the address and waits as long as that costs.
func (b *brake) hold(ctx context.Context, remoteAddr string) {
	d := b.failed(remoteAddr, time.Now())
	if d == 0 {
		return
	}
	select {
	case b.held <- struct{}{}:
		defer func() { <-b.held }()
	default:
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (b *brake) failed(remoteAddr string, now time.Time) time.Duration {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		host = remoteAddr
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	slot := &b.slots[maphash.String(b.seed, host)%brakeSlots]
	if now.Sub(slot.last) > brakeForget {
		slot.failures = 0
	}
	slot.last = now
	slot.failures++
	over := slot.failures - brakeFree
	if over <= 0 {
		return 0
	}
	if over > 5 { // 100 ms doubled five times is over the most
		return brakeMost
	}
	return min(brakeFirst<<(over-1), brakeMost)
}
