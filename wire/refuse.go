package wire

import (
	"net/http"

	"github.com/dormouse-ci/dormouse"
)

// ReadHello reads how a request introduces itself, as a handshake would: for
// what else a master answers to workers on the same port. Its error is Invalid.
// A request without an Authorization header has no name.
func ReadHello(r *http.Request) (Hello, error) {
	h, err := helloFrom(r)
	if err != nil {
		return h, dormouse.Errorf(dormouse.Invalid, "%w", err)
	}
	return h, nil
}

// Refuse answers a request as a handshake that failed with this error: see
// [ServerOptions].Authenticate for the statuses; Invalid is 400. A name or
// password that is wrong is answered later and later, together with those of
// handshakes from the same address.
func (s *Server) Refuse(rw http.ResponseWriter, r *http.Request, err error) {
	switch dormouse.CodeOf(err) {
	case dormouse.Invalid:
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	case dormouse.Unauthorized:
		s.brake.hold(r.Context(), r.RemoteAddr)
	}
	refuse(rw, err)
}
