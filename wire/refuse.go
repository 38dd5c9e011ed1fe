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
// [ServerOptions].Authenticate for the statuses; Invalid is 400.
func Refuse(rw http.ResponseWriter, err error) {
	if dormouse.CodeOf(err) == dormouse.Invalid {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	refuse(rw, err)
}
