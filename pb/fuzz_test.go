package pb

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/dormouse-ci/dormouse/pb/banana"
)

// FuzzConn: whatever a peer sends, before the login or after it, the connection
// ends when it does, and all that we have sent is well formed.
func FuzzConn(f *testing.F) {
	f.Add(true, []byte("\x02\x82pb\x02\x80\x13\x87\x06\x81"))
	for _, r := range recordings(f) {
		var all []byte
		for _, m := range r.messages {
			if !m.fromMaster {
				all = append(all, m.bytes...)
			}
		}
		f.Add(mentions(r.messages[0].item, "pb"), all)
	}
	for _, say := range []string{
		sayNothing, `["message", 1, 2, "x", 1, ["tuple", ["remote", 3], ["local", 2]], ["dictionary", ["a", 1]]]`, `["decref", 2]`,
		`["answer", 1, ["list", ["reference", 1, ["list", 1]], ["dereference", 1]]]`,
	} {
		f.Add(false, encodeItem(f, items(f, say)))
	}
	f.Fuzz(func(t *testing.T, stranger bool, b []byte) {
		near, far := net.Pipe()
		sent := make(chan error, 1)
		go func() { sent <- wellFormed(far) }()
		go func() {
			if !stranger {
				(&peer{t: t, nc: far}).logIn("pw")
			}
			_, _ = far.Write(b)
			far.Close()
		}()
		l, err := accept(t.Context(), near, zeros)
		if err == nil {
			talk(t.Context(), l)
		} else if !stranger {
			t.Error(err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// talk makes calls, and gives back what it is called with.
func talk(ctx context.Context, l *Login) {
	c := l.Admit("it")
	echo := ObjectFunc(func(call *Call) {
		switch call.Method {
		case "fail":
			call.Fail(errors.New(call.Method))
		case "withdraw":
			c.Export(nil).Withdraw()
			call.NoSuchMethod()
		default:
			call.Answer(Tuple{call.Method, call.Args, call.Keywords})
		}
	})
	l.Welcome(echo)
	_, _ = l.Mind.Call(ctx, "take", c.Export(echo), "x")
	l.Mind.Release()
	c.Wait()
	if c.room.used < 0 {
		panic("more room is given back than was taken")
	}
}

// wellFormed reads all that comes.
func wellFormed(r io.Reader) error {
	// What is spelt out may be longer than what it came as.
	d := banana.NewDecoder(r, banana.Limits{Depth: 100, Items: 1 << 22, Bytes: 1 << 26})
	d.Speak(banana.PB)
	for {
		switch _, err := d.Next(); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
			return nil
		case err != nil:
			return err
		}
	}
}
