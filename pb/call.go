package pb

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/pb/banana"
)

// classInsecureJelly answers values that are not taken.
const classInsecureJelly = "twisted.spread.jelly.InsecureJelly"

// Call is one that the other side makes.
type Call struct {
	Method   string
	Args     Tuple
	Keywords Dict

	conn    *Conn
	request int64
	wanted  bool
	cost    int // of the connection's room, until the answer is written
	once    sync.Once
}

// Answer answers the call with a value; only the first answer or failure counts.
// It does not wait. A value that cannot be sent becomes a failure.
func (c *Call) Answer(v any) {
	c.once.Do(func() {
		if !c.wanted {
			c.conn.room.release(c.cost)
			return
		}
		b, sent, err := encode("answer", c.request, v)
		if err == nil {
			err = c.conn.retain(sent)
		}
		if err != nil {
			b = encodeFailure(c.request, failure(err.Error(), classError))
		}
		c.conn.put(b, c.cost)
	})
}

// Fail answers the call with an error: a *Failure as it is, another one by its
// text. Some calls of a stock worker must not be failed; see the package comment.
func (c *Call) Fail(err error) {
	c.once.Do(func() {
		if !c.wanted {
			c.conn.room.release(c.cost)
			return
		}
		f, ok := errors.AsType[*Failure](err)
		if !ok {
			f = failure(err.Error(), classError)
		}
		c.conn.put(encodeFailure(c.request, f), c.cost)
	})
}

// NoSuchMethod answers the call of a method that the object does not have.
func (c *Call) NoSuchMethod() {
	c.Fail(failure("There is no method "+validText(shorten(c.Method)), classNoSuchMethod, "builtins.AttributeError"))
}

// called serves a call that came in. The reader calls it.
func (c *Conn) called(m message, cost int) {
	call := &Call{Method: m.method, conn: c, request: m.number, wanted: m.wanted}
	u := c.unjelly()
	err := call.arguments(u, m)
	call.cost = cost + u.again
	c.room.add(call.cost)
	if err != nil {
		call.Fail(failure(err.Error(), classInsecureJelly))
		release(u.received)
		return
	}
	l, err := c.own(m.object)
	if err != nil {
		call.Fail(err)
		release(u.received)
		return
	}
	l.object.Serve(call)
}

func (c *Call) arguments(u *unjelly, m message) error {
	args, _, err := u.value(m.args, 0)
	if err != nil {
		return err
	}
	keywords, _, err := u.value(m.keywords, 0)
	if err != nil {
		return err
	}
	var isTuple, isDict bool
	c.Args, isTuple = args.(Tuple)
	c.Keywords, isDict = keywords.(Dict)
	if !isTuple || !isDict {
		return errors.New("arguments are a tuple and a dictionary")
	}
	return nil
}

// answer is what a call of ours brought.
type answer struct {
	value any
	err   error
}

// Call calls a method of the object, and waits for the answer. An error that the
// other side answers is a *Failure. Objects in the answer are to be released.
//
// The arguments may be nil, bool, int, int64, *big.Int, float64, string, []byte,
// []any, []string, Tuple, Dict, map[string]any, map[string]string, *Failure,
// *Local and *Remote. An error of the code Invalid is that they cannot be sent.
func (r *Remote) Call(ctx context.Context, method string, args ...any) (any, error) {
	c := r.conn
	number, ch := c.open()
	b, sent, err := encodeCall(number, r.id, method, args)
	if err == nil {
		err = c.retain(sent)
	}
	if err != nil {
		c.forget(number)
		return nil, dormouse.Errorf(dormouse.Invalid, "%s: %s: %w", c.label, method, err)
	}
	select {
	case c.requests <- b:
	case <-ctx.Done():
		c.forget(number)
		c.unsent(sent)
		return nil, fmt.Errorf("%s: %s was not sent: %w", c.label, method, ctx.Err())
	case <-c.done:
		c.forget(number)
		return nil, c.lost(method)
	}
	select {
	case a := <-ch:
		return c.result(method, a)
	case <-ctx.Done():
		if c.forget(number) {
			return nil, fmt.Errorf("%s: %s is not answered: %w", c.label, method, ctx.Err())
		}
	case <-c.done:
		if c.forget(number) {
			return nil, c.lost(method)
		}
	}
	return c.result(method, <-ch) // it came in this moment
}

func (c *Conn) result(method string, a answer) (any, error) {
	if a.err != nil {
		return nil, fmt.Errorf("%s: %s: %w", c.label, method, a.err)
	}
	return a.value, nil
}

// open numbers a request.
func (c *Conn) open() (number int64, ch chan answer) {
	ch = make(chan answer, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastRequest++
	c.waiting[c.lastRequest] = ch
	return c.lastRequest, ch
}

// forget gives a request up. It reports false where its answer has come, and is
// in its channel at once.
func (c *Conn) forget(number int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waiting := c.waiting[number]
	delete(c.waiting, number)
	return waiting
}

// answered gives an answer to the caller that waits for it; one that was given up is
// dropped. The reader calls it.
func (c *Conn) answered(m message) error {
	c.mu.Lock()
	ch := c.waiting[m.number]
	delete(c.waiting, m.number)
	issued := m.number > 0 && m.number <= c.lastRequest
	c.mu.Unlock()
	if !issued {
		return fmt.Errorf("an answer to request %d, which was never made", m.number)
	}
	u := c.unjelly()
	v, _, err := u.value(m.value, 0)
	if ch == nil || err != nil {
		release(u.received)
	}
	if ch == nil {
		return nil
	}
	if m.kind == "error" && err == nil {
		f, ok := v.(*Failure)
		if !ok {
			f = failure(fmt.Sprintf("%.200v", v), "an exception of another form")
		}
		v, err = nil, f
	}
	ch <- answer{v, err}
	return nil
}

// encode makes a message of two words and a value.
func encode(kind string, number int64, v any) (b []byte, sent []*Local, err error) {
	j := jelly{Encoder: banana.NewEncoder(nil, banana.PB)}
	j.List(3)
	j.String(kind)
	j.Int(number)
	j.value(v, 0)
	b, err = j.Bytes()
	return b, j.sent, err
}

func encodeFailure(number int64, f *Failure) []byte {
	short := *f
	short.Value, short.Traceback = shorten(f.Value), shorten(f.Traceback)
	b, _, err := encode("error", number, &short)
	if err != nil { // one of its classes is longer than can be sent
		b, _, _ = encode("error", number, failure("the error cannot be sent", classError))
	}
	return b
}

func encodeCall(number, object int64, method string, args []any) (b []byte, sent []*Local, err error) {
	j := jelly{Encoder: banana.NewEncoder(nil, banana.PB)}
	j.List(7)
	j.String("message")
	j.Int(number)
	j.Int(object)
	j.String(method)
	j.Int(1)
	j.value(Tuple(args), 0)
	j.value(Dict{}, 0)
	b, err = j.Bytes()
	return b, j.sent, err
}
