package pb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/pb/banana"
)

// peer is the other side of a connection, as a worker would be.
type peer struct {
	t  testing.TB
	nc net.Conn
	// heard are the messages that came.
	heard chan any
}

// newPeer reads all that comes.
func newPeer(t testing.TB) (near net.Conn, p *peer) {
	near, far := net.Pipe()
	p = &peer{t: t, nc: far, heard: make(chan any, 100_000)}
	go func() {
		defer close(p.heard)
		d := banana.NewDecoder(far, afterLogin)
		d.Speak(banana.PB)
		for {
			item, err := d.Next()
			if err != nil {
				return
			}
			p.heard <- item
		}
	}()
	return near, p
}

// say writes messages that are written in JSON.
func (p *peer) say(messages ...string) {
	p.t.Helper()
	for _, m := range messages {
		if _, err := p.nc.Write(encodeItem(p.t, items(p.t, m))); err != nil {
			p.t.Errorf("%s: %v", m, err)
		}
	}
}

// hear waits for a message.
func (p *peer) hear(want string) {
	p.t.Helper()
	got, open := <-p.heard
	if !open {
		p.t.Errorf("the connection has ended, where %s was to come", want)
		return
	}
	if item := items(p.t, want); !bytes.Equal(encodeItem(p.t, got), encodeItem(p.t, item)) {
		p.t.Errorf("heard %q, want %q", got, item)
	}
}

// The messages of a login whose password is "pw" and whose challenge is 16 zeros.
const (
	sayVersion = `["version", 6]`
	sayLogin   = `["message", 1, "root", "login", 1, ["tuple", "w"], ["dictionary"]]`
	sayNothing = `["message", 1, 1, "update", 0, ["tuple"], ["dictionary"]]`
)

var zeros = make([]byte, challengeSize)

func respond(t testing.TB, password string) []byte {
	t.Helper()
	r := DigestOf(password).respond(zeros)
	return encodeItem(t, []any{
		[]byte("message"), int64(2), int64(1), []byte("respond"), int64(1),
		[]any{[]byte("tuple"), r[:], []any{[]byte("remote"), int64(1)}},
		[]any{[]byte("dictionary")},
	})
}

// logIn says who a worker is.
func (p *peer) logIn(password string) {
	p.say(`"pb"`, sayVersion, sayLogin)
	if _, err := p.nc.Write(respond(p.t, password)); err != nil {
		p.t.Error(err)
	}
}

// connect is a connection whose peer has logged in. What it heard until then is
// taken already.
func connect(t testing.TB) (*Conn, *Login, *peer) {
	t.Helper()
	near, p := newPeer(t)
	go p.logIn("pw")
	l, err := accept(t.Context(), near, zeros)
	if err != nil {
		t.Fatal(err)
	}
	if l.Name != "w" || l.Match([]Digest{DigestOf("pw")}) != 0 {
		t.Fatalf("%q is not let in", l.Name)
	}
	for range 3 { // dialects, version, challenge
		<-p.heard
	}
	c := l.Admit(`worker "w"`)
	t.Cleanup(func() {
		p.nc.Close()
		c.Wait()
	})
	return c, l, p
}

// TestStrangers: a peer that does not log in, in the right way and in time, is sent
// away.
func TestStrangers(t *testing.T) {
	t.Parallel()
	login := []string{`"pb"`, sayVersion, sayLogin}
	for _, c := range []struct {
		about string
		say   []string
		raw   string
		want  string
	}{
		{about: "says nothing", want: "timeout"},
		{about: "chooses another dialect", say: []string{`"none"`}, want: "dialect"},
		{about: "sends a number for the dialect", say: []string{`1`}, want: "dialect"},
		{about: "speaks HTTP", raw: "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: a client of another protocol that says much\r\n\r\n", want: "digits"},
		{about: "speaks TLS", raw: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", want: "type"},
		{about: "has another version", say: []string{`"pb"`, `["version", 5]`}, want: "version 5"},
		{about: "has no version", say: []string{`"pb"`, sayLogin}, want: `"version" was to come`},
		{about: "goes on with nothing", say: login, want: "timeout"},
		{about: "calls another method", say: []string{`"pb"`, sayVersion, `["message", 1, "root", "loginAnonymous", 1, ["tuple", 1], ["dictionary"]]`}, want: "loginAnonymous"},
		{about: "calls another object", say: []string{`"pb"`, sayVersion, `["message", 1, 1, "login", 1, ["tuple", "w"], ["dictionary"]]`}, want: `"login" was to come`},
		{about: "wants no answer", say: []string{`"pb"`, sayVersion, `["message", 1, "root", "login", 0, ["tuple", "w"], ["dictionary"]]`}, want: `"login" was to come`},
		{about: "has no name", say: []string{`"pb"`, sayVersion, `["message", 1, "root", "login", 1, ["tuple"], ["dictionary"]]`}, want: "arguments"},
		{about: "has a number for a name", say: []string{`"pb"`, sayVersion, `["message", 1, "root", "login", 1, ["tuple", 1], ["dictionary"]]`}, want: "no text"},
		{about: "sends a class for a name", say: []string{`"pb"`, sayVersion, `["message", 1, "root", "login", 1, ["tuple", ["os.system", "x"]], ["dictionary"]]`}, want: "os.system"},
		{about: "logs in twice", say: append(slices.Clone(login), sayLogin), want: `"respond" was to come`},
		{about: "has no mind", say: append(slices.Clone(login), `["message", 2, 1, "respond", 1, ["tuple", "0123456789abcdef", ["None"]], ["dictionary"]]`), want: "response"},
		{about: "responds in text", say: append(slices.Clone(login), `["message", 2, 1, "respond", 1, ["tuple", ["unicode", "x"], ["remote", 1]], ["dictionary"]]`), want: "response"},
		{about: "sends an answer", say: append(slices.Clone(login), `["answer", 1, 1]`), want: `"message" was to come`},
		{about: "says much", say: append(slices.Clone(login), fmt.Sprintf(`["x", %q]`, strings.Repeat("x", 5000))), want: "4096 bytes"},
		{about: "says much in small pieces", raw: "\x02\x82pb" + strings.Repeat("\x00", 4096), want: "digits"},
		{about: "announces much", raw: "\x02\x82pb\x00\x00\x28\x82", want: "4096 bytes"},
		{about: "nests", raw: "\x02\x82pb" + strings.Repeat("\x01\x80", 9), want: "nest"},
		{about: "sends many items", raw: "\x02\x82pb" + "\x7f\x80", want: "items"},
		{about: "ends within a message", raw: "\x02\x82pb\x02", want: "timeout"},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				near, p := newPeer(t)
				begin := time.Now()
				go func() {
					for _, m := range c.say {
						_, _ = p.nc.Write(encodeItem(t, items(t, m)))
					}
					_, _ = p.nc.Write([]byte(c.raw))
				}()
				l, err := Accept(t.Context(), near)
				if l != nil || err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%+v, %v", l, err)
				}
				if took := time.Since(begin); took > LoginTimeout {
					t.Errorf("it took %v", took)
				}
				for range p.heard { // until it is closed
				}
				if _, err := p.nc.Write([]byte("x")); err == nil {
					t.Error("the connection is open")
				}
			})
		})
	}
}

// TestMuchBeforeLogin: all that a stranger sends is counted, not only each message.
func TestMuchBeforeLogin(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	go func() { _, _ = far.Write(bytes.Repeat([]byte{0}, 10_000)) }()
	in := &intake{nc: near, left: maxBeforeLogin}
	read := 0
	for b := make([]byte, 1000); ; {
		n, err := in.Read(b)
		read += n
		if err != nil {
			break
		}
	}
	far.Close()
	if read != maxBeforeLogin {
		t.Errorf("%d bytes are read", read)
	}
}

// TestSilence: thousands who connect and say nothing are gone in time.
func TestSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const strangers = 2000
		done := make(chan error, strangers)
		for range strangers {
			near, far := net.Pipe()
			go func() {
				_, err := Accept(t.Context(), near)
				done <- err
				far.Close()
			}()
			go func() { _, _ = far.Read(make([]byte, 100)) }()
		}
		begin := time.Now()
		for range strangers {
			if err := <-done; err == nil {
				t.Error("a silent connection has logged in")
			}
		}
		if took := time.Since(begin); took > LoginTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

// TestAcceptEnds: the end of the context ends a login.
func TestAcceptEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, _ := newPeer(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := Accept(ctx, near); err == nil || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// TestChallengesDiffer: each login has a challenge of its own.
func TestChallengesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 5 {
		near, p := newPeer(t)
		go p.logIn("pw")
		l, err := Accept(t.Context(), near)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(l.challenge)] = true
		if l.Match([]Digest{DigestOf("pw")}) != -1 {
			t.Error("a response to another challenge is right")
		}
		l.Refuse("no")
	}
	if len(seen) != 5 || seen[string(zeros)] {
		t.Errorf("challenges: %v", seen)
	}
}

// TestRefuse: a worker that is refused has reason to try again: the class is among
// the parents, as text.
func TestRefuse(t *testing.T) {
	t.Parallel()
	near, p := newPeer(t)
	go p.logIn("wrong")
	l, err := accept(t.Context(), near, zeros)
	if err != nil {
		t.Fatal(err)
	}
	if l.Match([]Digest{DigestOf("pw"), DigestOf("pw2")}) != -1 {
		t.Error("a wrong password is right")
	}
	l.Refuse("Not now: é")
	for range 3 {
		<-p.heard
	}
	p.hear(`["error", 2, ["twisted.spread.pb.CopyableFailure", ["dictionary",
		[["unicode", "type"], "twisted.cred.error.UnauthorizedLogin"],
		[["unicode", "value"], ["unicode", "Not now: é"]],
		[["unicode", "traceback"], ["unicode", "Traceback unavailable\n"]],
		[["unicode", "parents"], ["list", ["unicode", "twisted.cred.error.UnauthorizedLogin"], ["unicode", "twisted.cred.error.LoginFailed"],
			["unicode", "twisted.cred.error.Unauthorized"], ["unicode", "builtins.Exception"]]]]]]`)
	if _, open := <-p.heard; open {
		t.Error("more is heard")
	}
}

// TestCalls: calls of both sides, in any order of answers.
func TestCalls(t *testing.T) {
	t.Parallel()
	c, l, p := connect(t)
	type result struct {
		v   any
		err error
	}
	call := func(ctx context.Context, method string, args ...any) chan result {
		ch := make(chan result, 1)
		go func() {
			v, err := l.Mind.Call(ctx, method, args...)
			ch <- result{v, err}
		}()
		return ch
	}
	first := call(t.Context(), "print", "é", []byte("b"), nil, true)
	p.hear(`["message", 1, 1, "print", 1, ["tuple", ["unicode", "é"], "b", ["None"], ["boolean", "true"]], ["dictionary"]]`)
	second := call(t.Context(), "second")
	p.hear(`["message", 2, 1, "second", 1, ["tuple"], ["dictionary"]]`)
	p.say(`["answer", 2, ["list", 5]]`, `["error", 1, ["twisted.spread.pb.CopyableFailure", ["dictionary", ["type", "exceptions.KeyError"], ["value", "x"], ["parents", ["list", "exceptions.KeyError", "exceptions.Exception"]]]]]`)
	if r := <-second; r.err != nil || fmt.Sprint(r.v) != "[5]" {
		t.Errorf("%v, %v", r.v, r.err)
	}
	if r := <-first; !errors.Is(r.err, Class("exceptions.Exception")) || errors.Is(r.err, NoSuchMethod) || r.err.Error() != `worker "w": print: exceptions.KeyError: x` {
		t.Errorf("%v, %v", r.v, r.err)
	}

	// Answers that are no values.
	third := call(t.Context(), "third")
	<-p.heard
	p.say(`["answer", 3, ["os.system", "x"]]`)
	if r := <-third; r.err == nil || !strings.Contains(r.err.Error(), "os.system") {
		t.Errorf("%v, %v", r.v, r.err)
	}
	fourth := call(t.Context(), "fourth")
	<-p.heard
	p.say(`["error", 4, "a text"]`)
	if r := <-fourth; r.err == nil {
		t.Errorf("%v, %v", r.v, r.err)
	}

	// One that was given up: its answer is dropped, with the objects in it.
	ctx, cancel := context.WithCancel(t.Context())
	given := call(ctx, "fifth")
	<-p.heard
	cancel()
	if r := <-given; !errors.Is(r.err, context.Canceled) {
		t.Errorf("%v, %v", r.v, r.err)
	}
	p.say(`["answer", 5, ["list", ["remote", 7], ["remote", 7]]]`)
	p.hear(`["decref", 7]`)
	p.hear(`["decref", 7]`)

	// What cannot be sent is not.
	if r := <-call(t.Context(), "sixth", strings.Repeat("x", banana.MaxLength+1)); dormouse.CodeOf(r.err) != dormouse.Invalid {
		t.Errorf("%v", r.err)
	}
	local := c.Export(ObjectFunc(func(c *Call) {}))
	local.Withdraw()
	if r := <-call(t.Context(), "seventh", local); dormouse.CodeOf(r.err) != dormouse.Invalid {
		t.Errorf("%v", r.err)
	}
}

// TestServe: calls of the other side are served in their order, and answered in any.
func TestServe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, serveCalls)
}

func serveCalls(t *testing.T) {
	c, l, p := connect(t)
	calls := make(chan *Call, 10)
	avatar := l.Welcome(ObjectFunc(func(c *Call) { calls <- c }))
	p.hear(fmt.Sprintf(`["answer", 2, ["remote", %d]]`, avatar.id))
	p.say(
		`["message", 7, 2, "a", 1, ["tuple", 1], ["dictionary", [["unicode", "k"], 2]]]`,
		`["message", 8, 2, "b", 1, ["tuple"], ["dictionary"]]`,
		`["message", 9, 2, "c", 0, ["tuple"], ["dictionary"]]`,
		`["message", 10, 2, "d", 1, ["tuple"], ["dictionary"]]`,
		`["message", 11, 2, "e", 1, ["tuple"], ["dictionary"]]`,
		`["message", 12, 2, "f", 1, ["tuple"], ["dictionary"]]`,
	)
	var got [6]*Call
	for i, method := range []string{"a", "b", "c", "d", "e", "f"} {
		got[i] = <-calls
		if got[i].Method != method {
			t.Errorf("call %d is %s", i, got[i].Method)
		}
	}
	if v, _ := got[0].Keywords.Get("k"); v != int64(2) || got[0].Args[0] != int64(1) {
		t.Errorf("%+v", got[0])
	}
	got[2].Answer("it is not wanted")
	got[2].Fail(errors.New("nor this"))
	got[1].Answer([]byte("error"))
	got[1].Answer("again")
	got[1].Fail(errors.New("again"))
	p.hear(`["answer", 8, "error"]`)
	got[0].Answer(nil)
	p.hear(`["answer", 7, ["None"]]`)
	got[3].Answer(struct{}{})
	checkFailure(t, p, 10, classError, "a struct {} cannot be sent")
	got[4].Fail(&Failure{Type: strings.Repeat("x", banana.MaxLength+1)})
	checkFailure(t, p, 11, classError, "the error cannot be sent")
	got[5].NoSuchMethod()
	checkFailure(t, p, 12, classNoSuchMethod, "There is no method f")

	// What makes no sense is answered, and the objects in it are given back.
	p.say(
		`["message", 13, 99, "a", 1, ["tuple", ["remote", 5]], ["dictionary"]]`,
		`["message", 14, "root", "login", 1, ["tuple", "w"], ["dictionary"]]`,
		`["message", 15, 2, "a", 1, ["tuple", ["remote", 6], ["os.system", "x"]], ["dictionary"]]`,
		`["message", 16, 2, "a", 1, ["list"], ["dictionary"]]`,
		`["message", 17, 1, "respond", 1, ["tuple", "again", ["None"]], ["dictionary"]]`,
		`["message", 18, 99, "a", 0, ["tuple"], ["dictionary"]]`,
	)
	checkFailure(t, p, 13, classError, "there is no object 99")
	p.hear(`["decref", 5]`)
	checkFailure(t, p, 14, classError, "there is no object 0")
	checkFailure(t, p, 15, classInsecureJelly, "no value that is known here begins with \"os.system\"")
	p.hear(`["decref", 6]`)
	checkFailure(t, p, 16, classInsecureJelly, "arguments are a tuple and a dictionary")
	checkFailure(t, p, 17, classError, "there is no object 1")
	synctest.Wait()
	if c.room.used != 0 {
		t.Errorf("%d bytes of room are taken", c.room.used)
	}
}

func checkFailure(t *testing.T, p *peer, request int64, class, text string) {
	t.Helper()
	m, err := parse(<-p.heard)
	if err != nil || m.kind != "error" || m.number != request {
		t.Fatalf("%+v, %v", m, err)
	}
	v, err := unjellied(m.value)
	if f, ok := v.(*Failure); !ok || f.Type != class || f.Value != text || f.Parents[0] != class {
		t.Errorf("request %d: %+v, %v", request, v, err)
	}
}

// TestReferences: an object is there as long as the other side has it.
func TestReferences(t *testing.T) {
	t.Parallel()
	synctest.Test(t, countReferences)
}

func countReferences(t *testing.T) {
	c, l, p := connect(t)
	calls := make(chan *Call, 10)
	object := c.Export(ObjectFunc(func(c *Call) { calls <- c }))
	answered := make(chan any)
	go func() {
		v, err := l.Mind.Call(t.Context(), "take", object, []any{object})
		if err != nil {
			t.Error(err)
		}
		answered <- v
	}()
	p.hear(`["message", 1, 1, "take", 1, ["tuple", ["remote", 2], ["list", ["remote", 2]]], ["dictionary"]]`)
	p.say(`["answer", 1, ["list", ["remote", 9], ["remote", 9], ["local", 2]]]`)
	list := (<-answered).([]any)
	if list[0] != list[1] || list[2] != object {
		t.Errorf("%v", list)
	}
	p.say(`["decref", 2]`, `["message", 1, 2, "x", 1, ["tuple"], ["dictionary"]]`)
	(<-calls).Answer(1)
	p.hear(`["answer", 1, 1]`)
	p.say(`["decref", 2]`, `["message", 2, 2, "x", 1, ["tuple"], ["dictionary"]]`)
	checkFailure(t, p, 2, classError, "there is no object 2")

	remote := list[0].(*Remote)
	for range 3 { // it came twice
		remote.Release()
	}
	p.hear(`["decref", 9]`)
	p.hear(`["decref", 9]`)
	synctest.Wait()
	if len(c.remotes) != 1 { // the mind
		t.Errorf("%d objects of the other side", len(c.remotes))
	}

	// One that is withdrawn may be given back later.
	other := c.Export(ObjectFunc(func(c *Call) { calls <- c }))
	go func() { _, _ = l.Mind.Call(t.Context(), "take", other) }()
	p.hear(`["message", 2, 1, "take", 1, ["tuple", ["remote", 3]], ["dictionary"]]`)
	other.Withdraw()
	p.say(`["message", 3, 3, "x", 1, ["tuple"], ["dictionary"]]`)
	checkFailure(t, p, 3, classError, "there is no object 3")
	p.say(`["decref", 3]`, `["answer", 2, ["None"]]`)

	// There is a bound.
	synctest.Wait()
	for id := int64(100); ; id++ {
		if _, err := c.receive(id); err != nil {
			if len(c.remotes) != maxRemotes {
				t.Errorf("%d objects: %v", len(c.remotes), err)
			}
			return
		}
	}
}

// TestNonsense: what makes no sense ends the connection, and every call.
func TestNonsense(t *testing.T) {
	t.Parallel()
	for say, want := range map[string]string{
		`1`:                         "no message",
		`[]`:                        "no message",
		`["x"]`:                     "no message",
		`[1, 2]`:                    "begin with",
		`["didNotUnderstand", "x"]`: "begin with",
		`["cachemessage", 1, 2]`:    "begin with",
		`["version", 6]`:            "second version",
		`["version"]`:               "no message",
		`["answer", 1]`:             "another form",
		`["answer", "x", 1]`:        "another form",
		`["answer", 1, 2, 3]`:       "another form",
		`["answer", 2, 1]`:          "never made",
		`["answer", 0, 1]`:          "never made",
		`["error", -1, 1]`:          "never made",
		`["decref", 0]`:             "given back",
		`["decref", 99]`:            "given back",
		`["decref", 2]`:             "given back", // exported, and not sent
		`["decref", "root"]`:        "another form",
		`["message", 1, 1, "x"]`:    "another form",
		`["message", 1, 0, "x", 1, ["tuple"], ["dictionary"]]`:      "another form",
		`["message", 1, "boot", "x", 1, ["tuple"], ["dictionary"]]`: "another form",
		`["message", 1, ["x"], "x", 1, ["tuple"], ["dictionary"]]`:  "another form",
		`["message", 1, 1, 1, 1, ["tuple"], ["dictionary"]]`:        "another form",
		`["message", 1, 1, "x", "y", ["tuple"], ["dictionary"]]`:    "another form",
		`["message", "x", 1, "x", 1, ["tuple"], ["dictionary"]]`:    "another form",
	} {
		t.Run(say, func(t *testing.T) {
			t.Parallel()
			c, l, p := connect(t)
			c.Export(ObjectFunc(func(*Call) {}))
			lost := make(chan error)
			go func() {
				_, err := l.Mind.Call(t.Context(), "print")
				lost <- err
			}()
			<-p.heard
			p.say(say)
			err := receive(t, lost)
			if !errors.Is(err, ErrConnectionLost) || dormouse.CodeOf(err) != dormouse.Unavailable || !strings.Contains(err.Error(), want) {
				t.Errorf("%v", err)
			}
			c.Wait()
			if _, err := l.Mind.Call(t.Context(), "print"); !errors.Is(err, ErrConnectionLost) {
				t.Errorf("after the end: %v", err)
			}
			l.Mind.Release()
			l.Welcome(ObjectFunc(func(*Call) {}))
		})
	}
}

// TestClose: each side may end a connection.
func TestClose(t *testing.T) {
	t.Parallel()
	c, _, p := connect(t)
	c.Close(errors.New("enough"))
	c.Close(errors.New("again"))
	receive(t, c.Done())
	c.Wait()
	if c.Err().Error() != "enough" {
		t.Error(c.Err())
	}
	for range p.heard {
	}
	c, _, p = connect(t)
	_, _ = p.nc.Write([]byte{2})
	p.nc.Close()
	receive(t, c.Done())
	if !strings.Contains(c.Err().Error(), "in the middle of a message") {
		t.Error(c.Err())
	}
}

// TestBackPressure: a peer that calls faster than we answer is not read any more, and
// is read again later. Nothing is lost.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l, p := connect(t)
		const all, size = 200, 64 << 10
		calls := make(chan *Call, all)
		l.Welcome(ObjectFunc(func(c *Call) { calls <- c }))
		<-p.heard
		update := encodeItem(t, items(t, fmt.Sprintf(`["message", 3, 2, "update", 1, ["tuple", %q], ["dictionary"]]`, strings.Repeat("x", size))))
		go func() {
			for range all {
				_, _ = p.nc.Write(update)
			}
		}()
		synctest.Wait()
		if n := len(calls); !c.Held() || n < 60 || n > maxWaiting/size {
			t.Errorf("held: %v, after %d calls", c.Held(), n)
		}
		for range all {
			(<-calls).Answer(0)
		}
		synctest.Wait()
		if c.Held() || c.room.used != 0 || len(p.heard) != all {
			t.Errorf("held: %v, %d bytes, %d answers", c.Held(), c.room.used, len(p.heard))
		}
	})
}

// TestUnread: a peer that calls and does not read the answers is not read either, and
// is given up in the end.
func TestUnread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := newConn(near)
		c.dec.Speak(banana.PB)
		c.start("it")
		var asked atomic.Int64
		c.Export(ObjectFunc(func(c *Call) { asked.Add(1); c.Answer(bytes.Repeat([]byte("x"), 100_000)) }))
		go func() {
			for {
				if _, err := far.Write(encodeItem(t, items(t, `["message", 3, 1, "read", 1, ["tuple"], ["dictionary"]]`))); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if n := asked.Load(); n == 0 || n > 2+maxWaiting/100_000 {
			t.Errorf("%d calls are answered", n)
		}
		begin := time.Now()
		c.Wait()
		if took := time.Since(begin); took != writeTimeout || !strings.Contains(c.Err().Error(), "timeout") {
			t.Errorf("%v after %v", c.Err(), took)
		}
	})
}

// TestNotSent: a call that was given up before it was sent is not sent, and what it
// mentions was not given.
func TestNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := newConn(near)
		c.start("it")
		remote, err := c.receive(1)
		if err != nil {
			t.Fatal(err)
		}
		object := c.Export(ObjectFunc(func(*Call) {}))
		first := make(chan error)
		go func() {
			_, err := remote.Call(t.Context(), "first")
			first <- err
		}()
		synctest.Wait() // it is not read
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := remote.Call(ctx, "second", object); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "was not sent") {
			t.Error(err)
		}
		if object.refs != 0 {
			t.Errorf("the other side has it %d times", object.refs)
		}
		far.Close()
		if err := <-first; !errors.Is(err, ErrConnectionLost) {
			t.Error(err)
		}
		c.Wait()
	})
}

// TestWatch: a connection from which nothing comes is ended; one that answers, in
// whatever way, or that we hold back, is not.
func TestWatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about string
		serve func(p *peer, request int64)
		ends  bool
	}{
		{"silent", func(*peer, int64) {}, true},
		{"answers", func(p *peer, n int64) { p.say(fmt.Sprintf(`["answer", %d, ["None"]]`, n)) }, false},
		{"fails", func(p *peer, n int64) {
			p.say(fmt.Sprintf(`["error", %d, ["twisted.spread.pb.CopyableFailure", ["dictionary"]]]`, n))
		}, false},
		{"calls", func(p *peer, n int64) { p.say(sayNothing) }, false},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn, l, p := connect(t)
				var asked atomic.Int64
				go func() {
					for item := range p.heard {
						if m, err := parse(item); err == nil && m.method == "print" {
							asked.Add(1)
							c.serve(p, m.number)
						}
					}
				}()
				begin := time.Now()
				conn.Watch(time.Minute, 10*time.Second, func(ctx context.Context) error {
					_, err := l.Mind.Call(ctx, "print", "keepalive")
					return err
				})
				time.Sleep(10*time.Minute + time.Second)
				select {
				case <-conn.Done():
					if took := time.Since(begin); !c.ends || !strings.Contains(conn.Err().Error(), "1m0s, nor within 10s") {
						t.Errorf("%v after %v", conn.Err(), took)
					}
				default:
					if n := asked.Load(); c.ends || n < 5 {
						t.Errorf("it is open, and was asked %d times", n)
					}
				}
			})
		})
	}
}

// TestWatchHeld: a peer that we do not read is not dead.
func TestWatchHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, l, p := connect(t)
		l.Welcome(ObjectFunc(func(c *Call) {}))
		go func() {
			update := encodeItem(t, items(t, fmt.Sprintf(`["message", 3, 2, "update", 1, ["tuple", %q], ["dictionary"]]`, strings.Repeat("x", 500_000))))
			for range 20 {
				_, _ = p.nc.Write(update)
			}
		}()
		synctest.Wait()
		c.Watch(time.Minute, 10*time.Second, func(ctx context.Context) error {
			_, err := l.Mind.Call(ctx, "print", "keepalive")
			return err
		})
		time.Sleep(time.Hour)
		select {
		case <-c.Done():
			t.Error(c.Err())
		default:
		}
	})
}
