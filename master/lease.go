package master

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/listen"
	"github.com/dormouse-ci/dormouse/wire"
)

// workerLease is how long a machine goes on without hearing from its master:
// longer than a restart or an upgrade of the master takes, and short enough
// that a machine which nobody can end costs little.
const workerLease = 10 * time.Minute

// lease is the answer to a watchdog whose machine is wanted.
type lease struct {
	Seconds int64 `json:"lease_seconds"`
}

// serveLease answers the watchdog of a machine, which asks by
//
//	POST /lease
//	Authorization: Basic …        the worker's, as in the handshake
//	Dormouse-Instance: i-…        as in the handshake
//
// 200 means that the machine is wanted, for so many seconds more, and 409 that
// its generation is over: it is to power itself off. One that EC2 is about to take
// back is to wait for that. Any other answer, such as
// 401 where name and password are not known, says nothing of the machine, and
// leaves it the time of the last lease. Nothing is remembered of a lease here:
// it is the machine that ends itself.
func (m *Master) serveLease(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		rw.Header().Set("Allow", http.MethodPost)
		http.Error(rw, "a lease is asked for by POST", http.StatusMethodNotAllowed)
		return
	}
	if m.lost.Load() {
		// Another master owns the store: that one knows.
		wire.Refuse(rw, errNotInCharge)
		return
	}
	h, err := wire.ReadHello(r)
	if err == nil && h.Name == "" {
		err = dormouse.Errorf(dormouse.Unauthorized, "a watchdog asks with its worker's name and password (HTTP Basic authentication)")
	}
	if err == nil {
		// By what the launch gave it, however often: a lease gives nobody
		// anything but time.
		_, _, err = m.identify(r.Context(), h)
	}
	if dormouse.CodeOf(err) == dormouse.Conflict {
		if _, left := m.fleet.LeftToEC2(h.InstanceID, h.Name); left {
			err = nil // EC2 is to end it
		}
	}
	if err != nil && !m.leased() {
		err = errNotInCharge // the store is away, and another master may know better
	}
	if err != nil {
		m.refusals.Warn("lease refused", "worker", h.Name, "instance", h.InstanceID, "remote", h.RemoteAddr, "error", err)
		wire.Refuse(rw, err)
		return
	}
	listen.Prove(r.Context())
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	// Whoever went away meanwhile asks again.
	_ = json.NewEncoder(rw).Encode(lease{Seconds: int64(m.scaled(workerLease).Seconds())})
}
