package wire_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// TestAgentRequests: what a master may ask of our agent, and what it may not.
func TestAgentRequests(t *testing.T) {
	masters := make(chan *rawPeer, 1)
	ended := make(chan struct{})
	hs := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(rw, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		masters <- &rawPeer{t, ws}
		<-ended
	}))
	defer hs.Close()
	defer close(ended)
	a := newAgent()
	c := dial(t, strings.TrimPrefix(hs.URL, "http://"), "w", a)
	m := receive(t, masters)

	good := map[string]any{"newline_re": "x", "max_line_length": 4096, "buffer_size": 65536, "buffer_timeout": 5}
	bad := map[string]any{"newline_re": 1, "max_line_length": "x", "buffer_size": -1, "buffer_timeout": nil}
	tests := []struct {
		op     string
		fields map[string]any
		answer string // of a refusal; "" for none
	}{
		{"keepalive", nil, ""},
		{"get_worker_info", nil, ""},
		{"print", map[string]any{"message": "hi"}, ""},
		{"print", nil, "print without a text message"},
		{"print", map[string]any{"message": 7}, "print without a text message"},
		{"set_worker_settings", map[string]any{"args": good}, ""},
		{"set_worker_settings", map[string]any{"args": bad}, "buffer_size is not a number"},
		{"set_worker_settings", nil, "without a map"},
		{"start_command", map[string]any{"command_id": "1", "command_name": "nope", "args": map[string]any{}}, `no command "nope"`},
		{"start_command", map[string]any{"command_id": "1", "command_name": "nope"}, "without a map"},
		{"start_command", map[string]any{"command_name": "nope", "args": map[string]any{}}, "without a text command_id"},
		{"interrupt_command", map[string]any{"command_id": "1", "why": "so"}, ""},
		{"interrupt_command", nil, "without a text command_id"},
		{"update", nil, `unknown op "update"`},
		{"", nil, "no op"},
	}
	for i, test := range tests {
		req := map[string]any{"op": test.op, "seq_number": i}
		for k, v := range test.fields {
			req[k] = v
		}
		m.send(req)
		got := m.read()
		text, _ := got["result"].(string)
		if got["seq_number"] != int64(i) || (got["is_exception"] == true) != (test.answer != "") || !strings.Contains(text, test.answer) {
			t.Errorf("%s %v: %v, want %q", test.op, test.fields, got, test.answer)
		}
	}
	if diff := cmp.Diff([]string{"hi"}, a.printed); diff != "" {
		t.Error(diff)
	}
	if a.settings.BufferTimeout.Seconds() != 5 || a.settings.MaxLineLength != 4096 {
		t.Errorf("%+v", a.settings)
	}
	if err := m.ws.Write(t.Context(), websocket.MessageBinary, []byte{0x81, 0xa1}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusInvalidFramePayloadData {
		t.Errorf("got %v", err)
	}
	<-c.Done()
	if err := c.Update(context.Background(), "1", nil); dormouse.CodeOf(err) != dormouse.Unavailable {
		t.Errorf("got %v", err)
	}
}

// memoryDir is a DirectoryWriter.
type memoryDir struct {
	data     strings.Builder
	unpacked bool
}

func (d *memoryDir) Write(_ context.Context, p []byte) error { d.data.Write(p); return nil }
func (d *memoryDir) Unpack(context.Context) error            { d.unpacked = true; return nil }

// TestTransferRequests: requests of transfers that make no sense do not reach
// whoever takes them.
func TestTransferRequests(t *testing.T) {
	workers := make(chan *wire.Worker, 1)
	m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error { workers <- w; return nil }})
	p := connectRaw(t, m.addr, "w")
	w := receive(t, workers)
	f, d := &memoryFile{}, &memoryDir{}
	started := make(chan *wire.Running, 1)
	go func() {
		r, err := w.Start(t.Context(), wire.Command{Name: "x", Transfer: wire.Transfer{File: f, Directory: d, Reader: &memoryReader{strings.NewReader("abc")}}}, new(collector).on)
		if err != nil {
			t.Error(err)
		}
		started <- r
	}()
	p.send(map[string]any{"op": "response", "seq_number": p.read()["seq_number"], "result": nil})
	r := receive(t, started)
	tests := []struct {
		op     string
		fields map[string]any
		want   any // a string is a refusal
	}{
		{"update_upload_file_write", map[string]any{"args": 7}, "a block that is not bytes"},
		{"update_upload_file_write", map[string]any{"args": []byte("\xff")}, nil},
		{"update_upload_file_write", map[string]any{"args": ""}, nil},
		{"update_upload_file_utime", map[string]any{"access_time": 1, "modified_time": 2}, nil},
		{"update_upload_file_utime", map[string]any{"access_time": "x", "modified_time": 2}, "not seconds"},
		{"update_upload_file_utime", map[string]any{"access_time": -1, "modified_time": 2}, "not seconds"},
		{"update_upload_file_utime", map[string]any{"access_time": 1, "modified_time": 1e300}, "not seconds"},
		{"update_upload_directory_write", map[string]any{"args": []byte("tar")}, nil},
		{"update_upload_directory_write", map[string]any{"args": nil}, "a block that is not bytes"},
		{"update_upload_directory_unpack", nil, nil},
		{"update_read_file", map[string]any{"length": 0}, "not a positive number"},
		{"update_read_file", map[string]any{"length": "3"}, "not a positive number"},
		{"update_read_file", map[string]any{"length": 2}, []byte("ab")},
		{"update_read_file", map[string]any{"length": int64(1) << 62}, []byte("c")},
		{"update_read_file_close", nil, nil},
	}
	for i, test := range tests {
		req := map[string]any{"op": test.op, "seq_number": i, "command_id": "1"}
		for k, v := range test.fields {
			req[k] = v
		}
		p.send(req)
		got := p.read()
		if reason, refused := test.want.(string); refused {
			if text, _ := got["result"].(string); got["is_exception"] != true || !strings.Contains(text, reason) {
				t.Errorf("%s %v: %v, want %q", test.op, test.fields, got, reason)
			}
		} else if got["is_exception"] != nil || !cmp.Equal(got["result"], test.want) {
			t.Errorf("%s %v: %v", test.op, test.fields, got)
		}
	}
	p.send(map[string]any{"op": "complete", "seq_number": 99, "command_id": "1", "args": nil})
	if err := r.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if f.data.String() != "\xff" || d.data.String() != "tar" || !d.unpacked || f.modified.Unix() != 2 {
		t.Errorf("%q %q %v %v", f.data.String(), d.data.String(), d.unpacked, f.modified)
	}
}
