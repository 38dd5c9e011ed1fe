package ec2sim

import (
	"encoding/json"
	"net/http"
)

// routeSim adds what the endpoint tells of itself. It needs no signature, so
// only this machine may ask.
func (s *Server) routeSim() {
	local := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !fromThisMachine(r) {
				http.Error(w, "only this machine may ask, by its loopback address", http.StatusForbidden)
				return
			}
			h(w, r)
		}
	}
	s.mux.HandleFunc("GET /_sim/healthz", local(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"status": "ok"})
	}))
	s.mux.HandleFunc("GET /_sim/ledger", local(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, s.Ledger())
	}))
	s.mux.HandleFunc("GET /_sim/calls", local(func(w http.ResponseWriter, _ *http.Request) {
		l := s.Ledger()
		writeJSON(w, map[string]map[string]int{"calls": l.Calls, "failures": l.Failures})
	}))
	s.routeScenario(local)
	s.mux.HandleFunc("/_sim/", local(http.NotFound))
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	// Only the connection can fail, and the client sees that.
	_ = enc.Encode(v)
}
