package pb

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/pb/banana"
)

// patience bounds waits for what comes as soon as the machine gets to it.
const patience = 5 * time.Minute

// receive waits for what must come.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %T came", *new(T))
		panic("unreachable")
	}
}

// player plays a worker that was recorded, and makes our side do what the
// recorded master did.
type player struct {
	t    *testing.T
	r    recording
	far  net.Conn
	ours chan recorded // what our side sends
	conn *Conn

	login    *Login
	calls    chan *Call
	answered map[int64]*Call       // by request
	results  map[int64]chan answer // by request
}

// TestReplay: our side takes everything that recorded workers, from 0.8.14 to
// 4.3.0, have sent, and sends what the master sent, byte for byte, when it is made
// to make the same calls.
func TestReplay(t *testing.T) {
	t.Parallel()
	for _, r := range recordings(t) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			near, far := net.Pipe()
			p := &player{
				t: t, r: r, far: far, ours: make(chan recorded, 1000),
				calls: make(chan *Call, 1000), answered: map[int64]*Call{}, results: map[int64]chan answer{},
			}
			go p.listen()
			from := 0
			if mentions(r.messages[0].item, "pb") {
				from = p.logIn(near)
			} else {
				p.conn = newConn(near)
				p.conn.dec.Speak(banana.PB)
				p.conn.start("the worker")
			}
			if p.conn != nil {
				p.play(r.messages[from:])
				far.Close()
				p.conn.Wait()
				if err := p.conn.Err().Error(); err != "the other side went away" {
					t.Errorf("the connection ended: %s", err)
				}
			}
		})
	}
}

// listen reads what our side sends, until it closes.
func (p *player) listen() {
	defer close(p.ours)
	d := banana.NewDecoder(p.far, afterLogin)
	d.Speak(banana.PB)
	for {
		item, err := d.Next()
		if err != nil {
			return
		}
		p.ours <- recorded{fromMaster: true, item: item}
	}
}

// expect takes the next message of our side. Of calls that a stock master makes
// with keywords, and of failures, only what they are is compared.
func (p *player) expect(want recorded) {
	p.t.Helper()
	got := receive(p.t, p.ours)
	if got.item == nil {
		p.t.Fatalf("our side has closed, where %v was to come", want.item)
	}
	if bytes.Equal(encodeItem(p.t, got.item), want.bytes) {
		return
	}
	a, err := parse(got.item)
	b, err2 := parse(want.item)
	loose := b.kind == "error" || b.method == "print" || mentions(want.item, "reference")
	if err != nil || err2 != nil || !loose || a.kind != b.kind || a.number != b.number || a.object != b.object || a.method != b.method {
		p.t.Fatalf("our side sends\n%q\nwhere the master sent\n%q", got.item, want.item)
	}
}

// logIn replays up to the response, and decides as the master did.
func (p *player) logIn(near net.Conn) (next int) {
	var challenge []byte
	var expected []recorded
	for _, m := range p.r.messages {
		if parsed, err := parse(m.item); err == nil && parsed.kind == "answer" && m.fromMaster {
			v, _ := unjellied(parsed.value)
			challenge = v.(Tuple)[0].([]byte)
			break
		}
	}
	logins := make(chan *Login, 1)
	go func() {
		l, err := accept(p.t.Context(), near, challenge)
		if err != nil {
			p.t.Error(err)
		}
		logins <- l
	}()
	for i, m := range p.r.messages {
		if m.fromMaster {
			expected = append(expected, m)
			continue
		}
		p.write(m)
		if parsed, err := parse(m.item); err == nil && parsed.method == "respond" {
			next = i + 1
			break
		}
	}
	p.login = receive(p.t, logins)
	if p.login == nil {
		p.t.FailNow()
	}
	for _, m := range expected {
		p.expect(m)
	}
	right := p.login.Match([]Digest{DigestOf("another"), DigestOf("sesame")}) == 1
	if refused := strings.HasPrefix(p.r.name, "login-"); refused {
		if right && p.r.name != "login-duplicate" || !slices.Contains([]string{"w1", "nobody"}, p.login.Name) {
			p.t.Errorf("%q has the right password", p.login.Name)
		}
		p.login.Refuse("no")
		for m := range p.ours {
			if parsed, err := parse(m.item); err != nil || parsed.kind != "error" {
				p.t.Errorf("a refused worker hears %q", m.item)
			}
		}
		return next
	}
	if !right {
		p.t.Errorf("%q has the wrong password", p.login.Name)
	}
	p.conn = p.login.Admit("the worker")
	return next
}

func (p *player) write(m recorded) {
	p.t.Helper()
	if _, err := p.far.Write(m.bytes); err != nil {
		p.t.Fatalf("%q: %v", m.item, err)
	}
}

// play goes through the messages in the order in which they were recorded.
func (p *player) play(messages []recorded) {
	for _, m := range messages {
		parsed, err := parse(m.item)
		if err != nil {
			p.t.Fatal(err)
		}
		if m.fromMaster {
			p.master(m, parsed)
		} else {
			p.worker(m, parsed)
		}
	}
	for number, ch := range p.results {
		select {
		case a := <-ch:
			if !errors.Is(a.err, ErrConnectionLost) {
				p.t.Errorf("call %d: %v, %v", number, a.value, a.err)
			}
		default:
		}
	}
}

// worker sends a message, and waits until what waits for it has it.
func (p *player) worker(m recorded, parsed message) {
	p.t.Helper()
	switch parsed.kind {
	case "message":
		p.own(parsed.object, 1000)
	case "decref":
		p.conn.mu.Lock()
		p.conn.lastID = max(p.conn.lastID, parsed.number)
		p.conn.mu.Unlock()
	case "answer", "error":
		p.conn.mu.Lock()
		p.conn.lastRequest = max(p.conn.lastRequest, parsed.number)
		p.conn.mu.Unlock()
	}
	p.write(m)
	ch := p.results[parsed.number]
	if ch == nil || parsed.kind != "answer" && parsed.kind != "error" {
		return
	}
	delete(p.results, parsed.number)
	a := receive(p.t, ch)
	if parsed.kind == "error" {
		if f, ok := errors.AsType[*Failure](a.err); !ok || f.Type == "" || !errors.Is(a.err, Class(f.Parents[0])) {
			p.t.Errorf("an error is %v", a.err)
		}
		return
	}
	if a.err != nil || !bytes.Equal(jellied(p.t, turned(a.value)), encodeItem(p.t, parsed.value)) {
		p.t.Errorf("the answer %q is %v, %v", parsed.value, a.value, a.err)
	}
}

// master makes our side do what the master did.
func (p *player) master(m recorded, parsed message) {
	p.t.Helper()
	switch parsed.kind {
	case "message":
		if parsed.object == 0 || mentions(m.item, "os.system") {
			return // our side makes no such calls
		}
		p.call(parsed)
	case "answer", "error":
		p.answer(parsed)
	case "decref":
		p.remote(parsed.number).Release()
	}
	p.expect(m)
}

func (p *player) call(parsed message) {
	p.t.Helper()
	u := &unjelly{refs: mentioned{}, left: afterLogin.Cost()}
	v, _, err := u.value(parsed.args, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	ch := make(chan answer, 1)
	p.results[parsed.number] = ch
	remote, args := p.remote(parsed.object), p.exported(v).(Tuple)
	p.conn.mu.Lock()
	p.conn.lastRequest = parsed.number - 1
	p.conn.mu.Unlock()
	go func() {
		v, err := remote.Call(p.t.Context(), parsed.method, args...)
		ch <- answer{v, err}
	}()
}

// exported has our objects where the recorded master's were.
func (p *player) exported(v any) any {
	switch v := v.(type) {
	case *Remote:
		return p.own(v.id, 0)
	case Tuple:
		for i := range v {
			v[i] = p.exported(v[i])
		}
	case Dict:
		for i := range v {
			v[i].Value = p.exported(v[i].Value)
		}
	}
	return v
}

func (p *player) answer(parsed message) {
	p.t.Helper()
	if p.login != nil && parsed.number == p.login.call.request {
		p.login.Welcome(ObjectFunc(p.serve))
		return
	}
	for p.answered[parsed.number] == nil {
		c := receive(p.t, p.calls)
		p.answered[c.request] = c
	}
	v, err := unjellied(parsed.value)
	if err != nil {
		p.t.Fatal(err)
	}
	if f, ok := v.(*Failure); ok {
		p.answered[parsed.number].Fail(f)
		return
	}
	p.answered[parsed.number].Answer(v)
}

func (p *player) serve(c *Call) { p.calls <- c }

// own is our object with this number, which is there from now on.
func (p *player) own(id int64, refs int) *Local {
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	if p.conn.locals[id] == nil {
		p.conn.locals[id] = &Local{conn: p.conn, id: id, object: ObjectFunc(p.serve), refs: refs}
		p.conn.lastID = max(p.conn.lastID, id)
	}
	return p.conn.locals[id]
}

// remote is the worker's object with this number, which is there from now on.
func (p *player) remote(id int64) *Remote {
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	if p.conn.remotes[id] == nil {
		p.conn.remotes[id] = &Remote{conn: p.conn, id: id, refs: 1}
	}
	return p.conn.remotes[id]
}
