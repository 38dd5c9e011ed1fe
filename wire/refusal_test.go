package wire_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/tinylib/msgp/msgp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// TestHandshakeRefused: each refusal has its status for any worker, its class
// for our agent, and harms nobody.
func TestHandshakeRefused(t *testing.T) {
	workers := make(chan *wire.Worker, 16)
	var logged lockedBuffer
	m := startMaster(t, wire.ServerOptions{
		Log:    slog.New(slog.NewTextHandler(&logged, nil)),
		Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil },
		Authenticate: func(_ context.Context, h wire.Hello) (wire.Identity, error) {
			switch h.Name {
			case "good":
				return wire.Identity{}, nil
			case "stale":
				return wire.Identity{}, dormouse.Errorf(dormouse.Conflict, "generation 3 has ended")
			case "early":
				return wire.Identity{}, dormouse.Errorf(dormouse.Unavailable, "the store is not open")
			case "broken":
				return wire.Identity{}, errors.New("secret detail of the store")
			}
			return wire.Identity{}, dormouse.Errorf(dormouse.Unauthorized, "unknown worker or wrong password")
		},
	})
	dial(t, m.addr, "good", newAgent())
	good := receive(t, workers)
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

	tests := []struct {
		name, path, auth string
		status           int
		body             string
		code             dormouse.Code // of Dial; "" where our agent would not send this
	}{
		{"wrong password", "/", basic("bot1:hunter2"), 401, "wrong password", dormouse.Unauthorized},
		{"stale generation", "/", basic("stale:hunter2"), 409, "generation 3 has ended", dormouse.Conflict},
		{"master not ready", "/", basic("early:hunter2"), 503, "the store is not open", dormouse.Unavailable},
		{"master failed", "/", basic("broken:hunter2"), 500, "its log says why", dormouse.Unavailable},
		{"already connected", "/", basic("good:x"), 503, "already connected", dormouse.Unavailable},
		{"no credentials", "/", "", 401, "HTTP Basic", ""},
		{"not basic", "/", "Bearer hunter2", 400, "not HTTP Basic", ""},
		{"not base64", "/", "Basic hunter2!", 400, "not HTTP Basic", ""},
		{"no colon", "/", basic("hunter2"), 400, "not HTTP Basic", ""},
		{"empty name", "/", basic(":hunter2"), 400, "not HTTP Basic", ""},
		{"long name", "/", basic(strings.Repeat("x", 300) + ":hunter2"), 400, "not HTTP Basic", ""},
		{"another path", "/ws", basic("good:x"), 404, "connect to /", ""},
		{"not a WebSocket", "/", basic("fresh:x"), 401, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.addr+test.path, nil)
			if test.auth != "" {
				req.Header.Set("Authorization", test.auth)
			}
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != test.status || !strings.Contains(string(body), test.body) || strings.Contains(string(body), "secret") {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if test.code != "" {
				plain, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(test.auth, "Basic "))
				name, password, _ := strings.Cut(string(plain), ":")
				_, err := wire.Dial(t.Context(), wire.DialOptions{URL: "ws://" + m.addr, Name: name, Password: password, Handler: newAgent()})
				if dormouse.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.body) || strings.Contains(err.Error(), password+" ") {
					t.Errorf("Dial: %s: %v", dormouse.CodeOf(err), err)
				}
			}
			if err := good.Ping(t.Context()); err != nil {
				t.Errorf("another worker suffers: %v", err)
			}
		})
	}
	for _, o := range []wire.DialOptions{{URL: "http://x", Name: "a"}, {URL: "ws://x", Name: "a:b"}, {URL: "ws://x"}} {
		if _, err := wire.Dial(t.Context(), o); dormouse.CodeOf(err) != dormouse.Invalid {
			t.Errorf("%+v: %v", o.URL, err)
		}
	}
	if _, err := wire.Dial(t.Context(), wire.DialOptions{URL: "ws://127.0.0.1:1", Name: "a"}); dormouse.CodeOf(err) != dormouse.Unavailable {
		t.Errorf("nobody there: %v", err)
	}
	if s := logged.String(); strings.Contains(s, "hunter2") || !strings.Contains(s, "bot1") {
		t.Errorf("log: %s", s)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestHelloKeepsPassword(t *testing.T) {
	h := wire.Hello{Name: "bot1", Password: "hunter2", RemoteAddr: "10.0.0.1:5", InstanceID: "i-1"}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "hello", h, "ptr", &h)
	for _, s := range []string{b.String(), fmt.Sprint(h), fmt.Sprintf("%+v %#v %v %s", h, h, &h, h)} {
		if strings.Contains(s, "hunter2") || !strings.Contains(s, "bot1") {
			t.Error(s)
		}
	}
}

func TestEqualSecret(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{{"", "", true}, {"a", "a", true}, {"a", "b", false}, {"a", "aa", false}, {"", "a", false}} {
		if got := wire.EqualSecret(test.a, test.b); got != test.want {
			t.Errorf("%q %q: %v", test.a, test.b, got)
		}
	}
}

// rawPeer is a peer that sends any bytes.
type rawPeer struct {
	t  *testing.T
	ws *websocket.Conn
}

// connectRaw attaches a raw worker, with get_worker_info answered.
func connectRaw(t *testing.T, addr, name string, extensions ...string) *rawPeer {
	t.Helper()
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":pw-"+name))
	ws, resp, err := websocket.Dial(t.Context(), "ws://"+addr, &websocket.DialOptions{HTTPHeader: http.Header{
		"Authorization": {auth}, wire.HeaderExtensions: extensions,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		resp.Body.Close()
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	p := &rawPeer{t, ws}
	if m := p.read(); m["op"] != "get_worker_info" || m["seq_number"] != int64(0) {
		t.Fatalf("first frame: %v", m)
	}
	p.send(map[string]any{"op": "response", "seq_number": 0, "result": map[string]any{"basedir": "/w", "numcpus": "many", "environ": 3}})
	return p
}

func (p *rawPeer) send(m map[string]any) {
	p.t.Helper()
	b, err := msgp.AppendIntf(nil, m)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.ws.Write(p.t.Context(), websocket.MessageBinary, b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *rawPeer) read() map[string]any {
	p.t.Helper()
	p.ws.SetReadLimit(wire.MaxFrame)
	_, b, err := p.ws.Read(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	v, _, err := msgp.ReadIntfBytes(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return v.(map[string]any)
}

// TestHostileFrames: a stream that is broken ends with a reason, a request that
// makes no sense is refused, and another worker never notices.
func TestHostileFrames(t *testing.T) {
	workers := make(chan *wire.Worker, 16)
	m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil }})
	dial(t, m.addr, "good", newAgent())
	good := receive(t, workers)

	enc := func(v any) []byte {
		b, err := msgp.AppendIntf(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	req := func(op string, more ...any) []byte {
		v := map[string]any{"op": op, "seq_number": 77}
		for i := 0; i < len(more); i += 2 {
			v[more[i].(string)] = more[i+1]
		}
		return enc(v)
	}
	whole := req("update", "command_id", "1", "args", []any{[]any{"rc", 0}})
	tests := []struct {
		name   string
		text   bool
		frame  []byte
		code   websocket.StatusCode // the connection ends
		reason string
		answer string // or: the request is refused
		hole   bool   // and ends its command
	}{
		{name: "text frame", text: true, frame: whole, code: websocket.StatusUnsupportedData, reason: "binary"},
		{name: "empty frame", frame: nil, code: websocket.StatusInvalidFramePayloadData, reason: "empty"},
		{name: "not MessagePack", frame: []byte{0xc1}, code: websocket.StatusInvalidFramePayloadData, reason: "not a map"},
		{name: "not a map", frame: enc([]any{1}), code: websocket.StatusInvalidFramePayloadData, reason: "not a map"},
		{name: "truncated", frame: whole[:len(whole)-3], code: websocket.StatusInvalidFramePayloadData, reason: "truncated"},
		{name: "more after the end", frame: append(bytes.Clone(whole), 0xc0), code: websocket.StatusInvalidFramePayloadData, reason: "1 bytes after"},
		{name: "deep nesting", frame: append([]byte{0x81, 0xa1, 'x'}, bytes.Repeat([]byte{0x91}, 1<<20)...), code: websocket.StatusInvalidFramePayloadData, reason: "nested"},
		{name: "huge map", frame: []byte{0xdf, 0xff, 0xff, 0xff, 0xff}, code: websocket.StatusInvalidFramePayloadData, reason: "keys"},
		{name: "huge array", frame: []byte{0x81, 0xa1, 'x', 0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0}, code: websocket.StatusInvalidFramePayloadData, reason: "truncated"},
		{name: "huge string", frame: []byte{0x81, 0xa1, 'x', 0xdb, 0xff, 0xff, 0xff, 0xff, 'y'}, code: websocket.StatusInvalidFramePayloadData, reason: "truncated"},
		{name: "huge inner map", frame: []byte{0x81, 0xa1, 'x', 0xdf, 0x7f, 0xff, 0xff, 0xff, 0xc0}, code: websocket.StatusInvalidFramePayloadData, reason: "truncated"},
		{name: "too many values", frame: append([]byte{0x81, 0xa1, 'x', 0xdd, 0x00, 0x20, 0x00, 0x00}, bytes.Repeat([]byte{0xc0}, 0x200000)...), code: websocket.StatusInvalidFramePayloadData, reason: "values"},
		{name: "extension type", frame: []byte{0x81, 0xa1, 'x', 0xd4, 0x01, 0x00}, code: websocket.StatusInvalidFramePayloadData, reason: "extension"},
		{name: "map as key", frame: []byte{0x81, 0xa1, 'x', 0x81, 0x80, 0xc0}, code: websocket.StatusInvalidFramePayloadData, reason: "key"},
		{name: "no seq_number", frame: enc(map[string]any{"op": "update"}), code: websocket.StatusInvalidFramePayloadData, reason: "seq_number"},
		{name: "seq_number a text", frame: enc(map[string]any{"op": "update", "seq_number": "1"}), code: websocket.StatusInvalidFramePayloadData, reason: "seq_number"},
		{name: "too large", frame: make([]byte, wire.MaxFrame+1), code: websocket.StatusMessageTooBig, reason: "limit"},
		{name: "response to nothing", frame: req("response", "result", 1), code: websocket.StatusProtocolError, reason: "never sent"},

		{name: "no op", frame: enc(map[string]any{"seq_number": 77}), answer: "no op"},
		{name: "unknown op", frame: req("no_such_op"), answer: "unknown op"},
		{name: "master's op", frame: req("start_command"), answer: "unknown op"},
		{name: "update without args", frame: req("update", "command_id", "1"), answer: "without args", hole: true},
		{name: "update without command", frame: req("update", "args", []any{}), answer: "without command_id"},
		{name: "update for unknown command", frame: req("update", "command_id", "99", "args", []any{}), answer: "unknown command_id"},
		{name: "complete of unknown command", frame: req("complete", "command_id", "99", "args", nil), answer: "unknown command_id"},
		{name: "write for unknown command", frame: req("update_upload_file_write", "command_id", "99", "args", "x"), answer: "unknown command_id"},
		{name: "command_id a map", frame: req("update", "command_id", map[string]any{}, "args", []any{}), answer: "unknown command_id"},
		// These are for the command that runs.
		{name: "args not a list", frame: req("update", "command_id", "1", "args", 3), answer: "list of [key, value]", hole: true},
		{name: "pair of three", frame: req("update", "command_id", "1", "args", []any{[]any{"rc", 0, 0}}), answer: "list of [key, value]", hole: true},
		{name: "key a number", frame: req("update", "command_id", "1", "args", []any{[]any{1, 0}}), answer: "list of [key, value]", hole: true},
		{name: "output a number", frame: req("update", "command_id", "1", "args", []any{[]any{"stdout", 0}}), answer: "newline positions", hole: true},
		{name: "output an empty list", frame: req("update", "command_id", "1", "args", []any{[]any{"stdout", []any{}}}), answer: "newline positions", hole: true},
		{name: "log without a name", frame: req("update", "command_id", "1", "args", []any{[]any{"log", "x"}}), answer: "list of [key, value]", hole: true},
		{name: "write without a file", frame: req("update_upload_file_write", "command_id", "1", "args", "x"), answer: "moves no such file"},
		{name: "read without a file", frame: req("update_read_file", "command_id", "1", "length", 5), answer: "moves no such file"},
		{name: "unpack without a directory", frame: req("update_upload_directory_unpack", "command_id", "1"), answer: "moves no such file"},
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			name := fmt.Sprint("evil", i)
			p := connectRaw(t, m.addr, name)
			w := receive(t, workers)
			running := make(chan *wire.Running, 1)
			go func() {
				r, err := w.Start(t.Context(), wire.Command{Name: "shell"}, new(collector).on)
				if err != nil {
					t.Error(err)
				}
				running <- r
			}()
			start := p.read()
			if start["op"] != "start_command" || start["command_id"] != "1" || start["command_name"] != "shell" {
				t.Fatalf("got %v", start)
			}
			p.send(map[string]any{"op": "response", "seq_number": start["seq_number"], "result": nil})
			r := receive(t, running)

			kind := websocket.MessageBinary
			if test.text {
				kind = websocket.MessageText
			}
			if err := p.ws.Write(t.Context(), kind, test.frame); err != nil && test.code == 0 {
				t.Fatal(err)
			}
			if test.code != 0 {
				var err error
				for err == nil {
					_, _, err = p.ws.Read(t.Context())
				}
				var ce websocket.CloseError
				if !errors.As(err, &ce) || ce.Code != test.code || !strings.Contains(ce.Reason, test.reason) {
					t.Errorf("closed with %v, want %v %q", err, test.code, test.reason)
				}
				if err := r.Wait(t.Context()); !errors.Is(err, wire.ErrConnectionLost) {
					t.Errorf("its command: %v", err)
				}
				if gone := receive(t, m.detached); gone != w || w.Err() == nil {
					t.Errorf("detached %v: %v", gone.Name(), w.Err())
				}
			} else {
				answer := p.read()
				text, _ := answer["result"].(string)
				if answer["op"] != "response" || answer["seq_number"] != int64(77) || answer["is_exception"] != true || !strings.Contains(text, test.answer) {
					t.Errorf("answer %v, want %q", answer, test.answer)
				}
				// The connection is still of use.
				p.send(map[string]any{"op": "complete", "seq_number": 78, "command_id": "1", "args": nil})
				if answer := p.read(); answer["seq_number"] != int64(78) || answer["is_exception"] != nil {
					t.Errorf("complete: %v", answer)
				}
				if err := r.Wait(t.Context()); errors.Is(err, wire.ErrMissing) != test.hole || err != nil && !test.hole {
					t.Errorf("its command: %v", err)
				}
				_ = p.ws.CloseNow()
				receive(t, m.detached)
			}
			if err := good.Ping(t.Context()); err != nil {
				t.Errorf("another worker suffers: %v", err)
			}
		})
	}
}

// TestUnreadAnswers: a worker that asks and asks without reading is cut off.
func TestUnreadAnswers(t *testing.T) {
	workers := make(chan *wire.Worker, 1)
	m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil }})
	p := connectRaw(t, m.addr, "evil")
	w := receive(t, workers)
	op := strings.Repeat("x", 250)
	for {
		b, _ := msgp.AppendIntf(nil, map[string]any{"op": op, "seq_number": 1})
		if err := p.ws.Write(t.Context(), websocket.MessageBinary, b); err != nil {
			break
		}
	}
	receive(t, m.detached)
	if err := w.Err(); !strings.Contains(err.Error(), "not read") {
		t.Error(err)
	}
}

// TestAttachRefused: what Attach says reaches the worker, and it is never
// detached.
func TestAttachRefused(t *testing.T) {
	m := startMaster(t, wire.ServerOptions{Attach: func(context.Context, *wire.Worker) error { return errors.New("not configured any more") }})
	c := dial(t, m.addr, "w", newAgent())
	<-c.Done()
	if err := c.Err(); !strings.Contains(err.Error(), "not configured any more") {
		t.Error(err)
	}
	c.Wait()
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if len(m.detached) != 0 {
		t.Error("detached without having been attached")
	}
}
