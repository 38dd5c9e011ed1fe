package web_test

import (
	"net/http"
	"testing"

	"github.com/dormouse-ci/dormouse/web"
)

// There are as many streams as there may be, of both kinds together; what is no
// stream is answered all the same, and a place that is left is given again.
func TestStreamsAreBounded(t *testing.T) {
	s := serve(t, func(o *web.Options) { o.MaxStreams = 1 })
	status := func(path string) (int, *http.Response) {
		resp := s.request(t, "GET", path, nil)
		return resp.StatusCode, resp
	}
	code, first := status("/api/v1/events")
	if code != http.StatusOK {
		t.Fatalf("the first stream: %d", code)
	}
	if code, _ := status("/api/v1/events"); code != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", code)
	}
	if code, _ := status("/api/v1/builders"); code != http.StatusOK {
		t.Errorf("another call: %d", code)
	}
	first.Body.Close()
	for code, _ = status("/api/v1/events"); code != http.StatusOK; code, _ = status("/api/v1/events") {
		if t.Context().Err() != nil {
			t.Fatal("the place is not given again")
		}
	}
}

// A token that somebody could guess is braked, by address; one that nobody can is
// not, so that nobody keeps those out who share an address.
func TestGuessesOfTokens(t *testing.T) {
	for name, secret := range map[string]string{"short": "hunter2", "long": "0123456789abcdefghij"} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(o *web.Options) { o.Token = secret })
			ask := func(token string) int {
				return s.request(t, "GET", "/api/v1/builders", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }).StatusCode
			}
			for range 10 { // right ones cost nothing
				if got := ask(secret); got != http.StatusOK {
					t.Fatalf("the token: %d", got)
				}
			}
			answers := map[int]int{}
			for range 40 {
				answers[ask("guess")]++
			}
			braked := len(secret) < web.StrongToken
			if (answers[http.StatusTooManyRequests] > 0) != braked || answers[http.StatusTooManyRequests]+answers[http.StatusUnauthorized] != 40 {
				t.Errorf("answers to guesses: %v", answers)
			}
			if got := ask(secret); !braked && got != http.StatusOK {
				t.Errorf("the token after the guesses: %d", got)
			}
		})
	}
}
