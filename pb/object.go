package pb

import (
	"errors"
	"fmt"
)

// maxRemotes is how many objects of the other side one connection may name to us
// at a time. A stock worker refuses to have more than about 1024.
const maxRemotes = 2048

// Object is something of ours that the other side may call.
type Object interface {
	// Serve takes a call. Calls come in the order in which they were made, all
	// of them from the connection's reader: nothing else comes in before Serve
	// returns, answers to our own calls included, so it must not wait. Each call
	// is answered or failed once, then or later; until then it takes room, and
	// without room nothing more is read.
	Serve(c *Call)
}

// ObjectFunc is an Object that is one function.
type ObjectFunc func(c *Call)

// Serve calls the function.
func (f ObjectFunc) Serve(c *Call) { f(c) }

// Local is an object of ours on one connection. As a value of a call or an answer
// it is what the other side may call from then on.
type Local struct {
	conn   *Conn
	id     int64
	object Object
	refs   int // how often it was sent and not yet given back; under conn.mu
}

// Export gives an object a number. It is forgotten when the other side has given
// it back as often as it was sent, or by Withdraw.
func (c *Conn) Export(o Object) *Local {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID++
	l := &Local{conn: c, id: c.lastID, object: o}
	c.locals[l.id] = l
	return l
}

// Withdraw takes the object back: calls of it are refused from now on, but for
// one that is being served.
func (l *Local) Withdraw() {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	delete(l.conn.locals, l.id)
}

// retain counts objects that are about to be sent.
func (c *Conn) retain(sent []*Local) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range sent {
		if c.locals[l.id] != l {
			return errors.New("an object is sent that this connection does not have any more")
		}
	}
	for _, l := range sent {
		l.refs++
	}
	return nil
}

// unsent takes back what retain has counted.
func (c *Conn) unsent(sent []*Local) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range sent {
		l.refs--
	}
}

// decref takes one reference back. What was withdrawn is given back later; what
// was never sent cannot be.
func (c *Conn) decref(id int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.locals[id]
	switch {
	case id <= 0 || id > c.lastID, l != nil && l.refs == 0:
		return fmt.Errorf("object %d is given back, which the other side does not have", id)
	case l == nil:
		return nil
	}
	if l.refs--; l.refs == 0 {
		delete(c.locals, id)
	}
	return nil
}

// own is the object that the other side mentions as ours.
func (c *Conn) own(id int64) (*Local, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.locals[id]
	if l == nil {
		return nil, fmt.Errorf("there is no object %d", id)
	}
	return l, nil
}

// Remote is an object of the other side.
type Remote struct {
	conn *Conn
	id   int64
	refs int // how often it came and was not released; under conn.mu
}

// receive counts an object that the other side has sent: the same one is the same
// Remote for as long as it is not released.
func (c *Conn) receive(id int64) (*Remote, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.remotes[id]
	if r == nil {
		if len(c.remotes) >= maxRemotes {
			return nil, fmt.Errorf("more than %d objects at a time", maxRemotes)
		}
		r = &Remote{conn: c, id: id}
		c.remotes[id] = r
	}
	r.refs++
	return r, nil
}

// Release gives the object back. It is to be called once for each time that the
// object came, in the answer or the arguments of a call.
func (r *Remote) Release() {
	c := r.conn
	c.mu.Lock()
	held := r.refs > 0
	if held {
		if r.refs--; r.refs == 0 {
			delete(c.remotes, r.id)
		}
	}
	c.mu.Unlock()
	if held {
		c.tell("decref", r.id)
	}
}

func release(received []*Remote) {
	for _, r := range received {
		r.Release()
	}
}
