package wire_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse/wire"
)

// TestExtensions shows that both ends know what both can, and that a stock
// worker is told of nothing.
func TestExtensions(t *testing.T) {
	attached := make(chan *wire.Worker, 1)
	m := startMaster(t, wire.ServerOptions{Attach: func(_ context.Context, w *wire.Worker) error {
		attached <- w
		return nil
	}, Interrupted: func(*wire.Worker, wire.Notice) {}})
	c := dial(t, m.addr, "bot", newAgent())
	all := wire.Extensions{wire.Resume, wire.Interruption, wire.Literals, wire.Groups, wire.Ping}
	if diff := cmp.Diff(all, receive(t, attached).Extensions()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(all, c.Extensions()); diff != "" {
		t.Error(diff)
	}

	for i, x := range []struct{ sent, answer string }{
		{"", ""},
		{"later, resume,,", "resume"},
		{"interruption,resume, resume", "resume, interruption"},
		{"Resume", ""},
	} {
		name := fmt.Sprint("stranger", i)
		h := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(name+":pw-"+name))}}
		if x.sent != "" {
			h.Set(wire.HeaderExtensions, x.sent)
		}
		ws, resp, err := websocket.Dial(t.Context(), "ws://"+m.addr+"/", &websocket.DialOptions{HTTPHeader: h})
		if err != nil {
			t.Fatal(err)
		}
		defer ws.CloseNow()
		if got, sent := resp.Header[wire.HeaderExtensions]; sent != (x.answer != "") || sent && got[0] != x.answer {
			t.Errorf("%q is answered by %q, not %q", x.sent, got, x.answer)
		}
	}
}
