package ec2sim

import (
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// scenarioAnswer is what /_sim/scenario tells.
type scenarioAnswer struct {
	Scenario json.RawMessage `json:"scenario"` // null: the endpoint behaves
	Began    time.Time       `json:"began,omitzero"`
	Rules    []RuleCount     `json:"rules,omitempty"`
}

// routeScenario adds the calls that change how the endpoint misbehaves. A page
// that a browser on this machine shows could send them too: it is known by the
// headers that browsers add.
func (s *Server) routeScenario(local func(http.HandlerFunc) http.HandlerFunc) {
	browsers := http.NewCrossOriginProtection()
	change := func(h http.HandlerFunc) http.HandlerFunc {
		return local(browsers.Handler(h).ServeHTTP)
	}
	s.mux.HandleFunc("GET /_sim/scenario", local(s.tellScenario))
	s.mux.HandleFunc("POST /_sim/scenario", change(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxScenario))
		if err != nil {
			http.Error(w, "the scenario could not be read: "+err.Error(), http.StatusBadRequest)
			return
		}
		sc, err := ParseScenario(text)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.SetScenario(sc)
		s.tellScenario(w, r)
	}))
	s.mux.HandleFunc("DELETE /_sim/scenario", change(func(w http.ResponseWriter, r *http.Request) {
		s.SetScenario(nil)
		s.tellScenario(w, r)
	}))
}

func (s *Server) tellScenario(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	var out scenarioAnswer
	if p := s.playing; p != nil {
		out = scenarioAnswer{p.scenario.source, p.began, p.counts()}
	}
	s.mu.Unlock()
	writeJSON(w, out)
}
