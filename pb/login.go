package pb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/dormouse-ci/dormouse/pb/banana"
)

const (
	// LoginTimeout is how long a login may take, the decision on it included. A
	// worker logs in within two round trips, and has no timeout of its own.
	LoginTimeout = 30 * time.Second
	// maxBeforeLogin is what a stranger may send, in bytes. A worker sends 95,
	// and its name.
	maxBeforeLogin = 4 << 10
)

// beforeLogin bounds one message of a stranger. Those of a login nest three deep
// and have 14 items.
var beforeLogin = banana.Limits{Depth: 8, Items: 64, Bytes: maxBeforeLogin}

// Login is a connection whose peer has said who it is, and answered a challenge.
// It is either refused or admitted.
type Login struct {
	// Name is whom the peer says it is. Anyone may say anything.
	Name string
	// Mind is the peer's first object. It may be called once the peer is
	// admitted.
	Mind *Remote

	conn      *Conn
	challenge []byte
	response  []byte
	call      *Call // of respond, which the avatar answers
}

// Accept speaks first, as a master does on a connection that came in, and hears
// what the peer answers. It closes the connection where that is no login, or none
// within [LoginTimeout], or when ctx ends; the error is for the log.
func Accept(ctx context.Context, nc net.Conn) (*Login, error) {
	challenge := make([]byte, challengeSize)
	_, _ = rand.Read(challenge) // it never fails
	return accept(ctx, nc, challenge)
}

func accept(ctx context.Context, nc net.Conn, challenge []byte) (*Login, error) {
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	err := nc.SetDeadline(time.Now().Add(LoginTimeout))
	l := &Login{conn: newConn(nc), challenge: challenge}
	for _, step := range []func() error{l.greet, l.named, l.responded, ctx.Err} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("a connection of PB did not log in: %w", err)
	}
	return l, nil
}

// greet agrees on dialect and version.
func (l *Login) greet() error {
	c := l.conn
	e := banana.NewEncoder(nil, banana.None)
	e.List(2)
	e.String("pb")
	e.String("none")
	b, _ := e.Bytes() // two words always encode
	if _, err := c.nc.Write(b); err != nil {
		return err
	}
	item, err := c.dec.Next()
	if err != nil {
		return err
	}
	if choice, ok := item.([]byte); !ok || string(choice) != "pb" {
		return errors.New("it does not choose the dialect pb")
	}
	c.dec.Speak(banana.PB)
	b, _ = encodeNote("version", version) // neither side waits for the other's
	if _, err := c.nc.Write(b); err != nil {
		return err
	}
	m, err := l.next("version")
	if err == nil && m.number != version {
		err = fmt.Errorf("it speaks version %d of PB, and this master %d", m.number, version)
	}
	return err
}

// named hears the name, and sends the challenge.
func (l *Login) named() error {
	m, err := l.next("message")
	if err != nil {
		return err
	}
	args, err := l.arguments(m, 0, "login", 1)
	if err != nil {
		return err
	}
	name, ok := Text(args[0])
	if !ok {
		return errors.New("its name is no text")
	}
	l.Name = name
	c := l.conn
	challenger := c.Export(nil) // called once, by what comes next
	b, sent, err := encode("answer", m.number, Tuple{l.challenge, challenger})
	if err == nil {
		err = c.retain(sent)
	}
	if err != nil {
		return err
	}
	_, err = c.nc.Write(b)
	return err
}

// responded hears the response. There is one for each challenge.
func (l *Login) responded() error {
	m, err := l.next("message")
	if err != nil {
		return err
	}
	c := l.conn
	args, err := l.arguments(m, c.lastID, "respond", 2)
	if err != nil {
		return err
	}
	response, isBytes := args[0].([]byte)
	mind, isObject := args[1].(*Remote)
	if !isBytes || !isObject {
		return errors.New("its response is not one to a challenge")
	}
	delete(c.locals, c.lastID)
	l.response, l.Mind = response, mind
	l.call = &Call{Method: m.method, conn: c, request: m.number, wanted: true}
	return nil
}

// next reads a message of this kind.
func (l *Login) next(kind string) (message, error) {
	item, err := l.conn.dec.Next()
	if err != nil {
		return message{}, err
	}
	m, err := parse(item)
	if err == nil && m.kind != kind {
		err = fmt.Errorf("it sends a message %q where a %q was to come", m.kind, kind)
	}
	return m, err
}

// arguments are those of a call that must be this one.
func (l *Login) arguments(m message, object int64, method string, n int) (Tuple, error) {
	if m.object != object || m.method != method || !m.wanted {
		return nil, fmt.Errorf("it calls %.80q where %q was to come", m.method, method)
	}
	u := &unjelly{refs: l.conn, left: beforeLogin.Cost()}
	v, _, err := u.value(m.args, 0)
	if err != nil {
		return nil, err
	}
	args, ok := v.(Tuple)
	if !ok || len(args) != n {
		return nil, fmt.Errorf("%s has other arguments", method)
	}
	return args, nil
}

// Match returns the first candidate whose password the peer knows, or -1. The
// time that it takes depends on how many there are, and on nothing else.
func (l *Login) Match(candidates []Digest) int {
	return match(l.challenge, l.response, candidates)
}

// Refuse tells the peer that it may not log in, and closes the connection. A
// stock worker tries again some seconds later, whatever the reason. (Any failure
// but this one would end its process.)
func (l *Login) Refuse(reason string) {
	f := failure(reason, classUnauthorizedLogin, "twisted.cred.error.LoginFailed", "twisted.cred.error.Unauthorized")
	_, _ = l.conn.nc.Write(encodeFailure(l.call.request, f)) // it hears of the end in any case
	l.conn.nc.Close()
}

// Admit begins to serve the peer, whose limits are those of a known one from now
// on. It obeys calls at once; label is whom errors speak of.
func (l *Login) Admit(label string) *Conn {
	if err := l.conn.nc.SetDeadline(time.Time{}); err != nil {
		l.conn.end(err)
	}
	l.conn.start(label)
	return l.conn
}

// Welcome gives an admitted peer its avatar, the object with which it reaches us.
// A worker is ready from then on, so it is done last.
func (l *Login) Welcome(avatar Object) *Local {
	a := l.conn.Export(avatar)
	l.call.Answer(a)
	return a
}
