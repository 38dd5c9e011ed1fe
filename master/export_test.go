package master

import "net/http"

// ServeLease is the handler of leases, without its port.
func (m *Master) ServeLease(rw http.ResponseWriter, r *http.Request) { m.serveLease(rw, r) }
