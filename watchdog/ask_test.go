package watchdog

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse/wire"
)

// What is sent is what the agent sends in the handshake.
func TestLeaseRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &leaseMaster{begin: time.Now(), answer: func(time.Duration) (int, string) { return 200, tenMinutes }}
		c := Config{Master: "wss://ci:9989/", InstanceID: "i-1", Password: "a:b", Lease: time.Minute, Transport: m, Version: "v"}
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		if term, err := askLease(t.Context(), c); err != nil || term != 10*time.Minute {
			t.Errorf("%v, %v", term, err)
		}
		h, err := wire.ReadHello(m.last)
		want := wire.Hello{Name: "i-1", Password: "a:b", InstanceID: "i-1", Agent: "v"}
		if diff := cmp.Diff(want, h); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		if got := m.last.Method + " " + m.last.URL.String(); got != "POST https://ci:9989/lease" {
			t.Error(got)
		}
	})
}
