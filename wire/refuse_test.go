package wire_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

func TestReadHello(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/lease", nil)
	r.SetBasicAuth("w", "a:b")
	r.Header.Set(wire.HeaderInstance, "i-1")
	h, err := wire.ReadHello(r)
	want := wire.Hello{Name: "w", Password: "a:b", InstanceID: "i-1", RemoteAddr: "192.0.2.1:1234"}
	if diff := cmp.Diff(want, h); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	r.Header.Set("Authorization", "Bearer x")
	if _, err := wire.ReadHello(r); dormouse.CodeOf(err) != dormouse.Invalid {
		t.Errorf("error %v", err)
	}
}

// A refusal beside the handshake has the handshake's statuses.
func TestRefuse(t *testing.T) {
	t.Parallel()
	refuse := func(err error) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		wire.Refuse(rec, err)
		return rec
	}
	for _, tt := range []struct {
		err    error
		status int
	}{
		{dormouse.Errorf(dormouse.Invalid, "because"), http.StatusBadRequest},
		{dormouse.Errorf(dormouse.Unauthorized, "because"), http.StatusUnauthorized},
		{dormouse.Errorf(dormouse.Conflict, "because"), http.StatusConflict},
		{dormouse.Errorf(dormouse.Unavailable, "because"), http.StatusServiceUnavailable},
		{dormouse.Errorf(dormouse.Throttled, "because"), http.StatusTooManyRequests},
	} {
		if rec := refuse(tt.err); rec.Code != tt.status || !strings.Contains(rec.Body.String(), "because") {
			t.Errorf("%v: %d %q", tt.err, rec.Code, rec.Body)
		}
	}
	if rec := refuse(errors.New("secret detail")); rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
}
