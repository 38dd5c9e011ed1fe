package web_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/webtest"
)

func TestWhoMayCall(t *testing.T) {
	s := serve(t, func(o *web.Options) {
		o.Service.(*webtest.Master).SetInfo(web.MasterInfo{BuildbotURL: "https://ci.example.org/", StartedAt: time.Now()})
		o.Hosts = []string{"alias.example.org"}
	})
	const master, events = "/api/v1/master", "/api/v1/events"
	auth := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", v) }
	}
	host := func(v string) func(*http.Request) { return func(r *http.Request) { r.Host = v } }
	origin := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Origin", v) }
	}
	for _, c := range []struct {
		name, path string
		change     func(*http.Request)
		want       int
	}{
		{"the token", master, nil, 200},
		{"the token, scheme in lower case", master, auth("bearer " + token), 200},
		{"no token", master, func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		{"an empty token", master, auth("Bearer "), 401},
		{"a wrong token", master, auth("Bearer x" + token), 401},
		{"the token's beginning", master, auth("Bearer " + token[:5]), 401},
		{"basic authentication", master, auth("Basic " + token), 401},
		{"no token for events", events, auth(""), 401},
		{"no token for the description", "/api/openapi.json", auth(""), 401},
		{"no token for what is not there", "/nowhere", auth(""), 401},
		{"no token for metrics", "/metrics", auth(""), 401},
		{"metrics", "/metrics", nil, 200},
		{"no token for the health check", "/healthz", auth(""), 200},
		{"localhost", master, host("localhost:1234"), 200},
		{"a name below localhost", master, host("dormouse.localhost"), 200},
		{"loopback of version 6", master, host("[::1]:8010"), 200},
		{"the public name, through a proxy", master, host("ci.example.org"), 200},
		{"another name that was configured", master, host("ALIAS.example.org:8443"), 200},
		{"a foreign name", master, host("evil.example.com"), 421},
		{"a foreign name that begins well", master, host("127.0.0.1.evil.example.com"), 421},
		{"a foreign name, health check", "/healthz", host("evil.example.com"), 421},
		{"an address of the network", master, host("192.0.2.1"), 421},
		{"its own origin", master, origin(s.url), 200},
		{"the public origin", master, origin("https://ci.example.org"), 200},
		{"the public name, not encrypted", master, origin("http://ci.example.org"), 403},
		{"a foreign origin", master, origin("https://evil.example.com"), 403},
		{"no origin that has a name", master, origin("null"), 403},
		{"another port is another origin", master, origin("http://127.0.0.1:1"), 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := s.request(t, "GET", c.path, c.change)
			if resp.StatusCode != c.want {
				t.Fatalf("status %d, want %d", resp.StatusCode, c.want)
			}
			if got := resp.Header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options is %q", got)
			}
			if (c.want == 401) != (resp.Header.Get("WWW-Authenticate") != "") {
				t.Errorf("WWW-Authenticate is %q", resp.Header.Get("WWW-Authenticate"))
			}
			if c.want < 400 {
				return
			}
			var p web.Problem
			if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
				t.Fatal(err)
			}
			if p.Code != dormouse.Unauthorized || p.Status != c.want || p.Detail == "" {
				t.Errorf("the problem is %+v", p)
			}
			if strings.Contains(p.Detail, token) {
				t.Errorf("the problem tells the token: %s", p.Detail)
			}
		})
	}
}

func TestWithoutATokenNobodyIsLetIn(t *testing.T) {
	s := serve(t, func(o *web.Options) { o.Token = "" })
	for _, auth := range []string{"", "Bearer ", "Bearer x"} {
		resp := s.request(t, "GET", "/api/v1/master", func(r *http.Request) { r.Header.Set("Authorization", auth) })
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("with %q the status is %d", auth, resp.StatusCode)
		}
	}
}

func TestOpenMetrics(t *testing.T) {
	s := serve(t, func(o *web.Options) { o.OpenMetrics = true })
	s.request(t, "GET", "/api/v1/builds/77", nil)
	resp := s.request(t, "GET", "/metrics", func(r *http.Request) { r.Header.Del("Authorization") })
	var text strings.Builder
	if _, err := copyTo(&text, resp.Body); err != nil {
		t.Fatal(err)
	}
	want := `dormouse_http_requests_total{route="GET /api/v1/builds/{id}",status="404"} 1`
	if !strings.Contains(text.String(), want) {
		t.Errorf("the metrics lack %s:\n%s", want, text.String())
	}
}

func TestBodyLimit(t *testing.T) {
	s := serve(t, nil)
	huge := `{"reason":"` + strings.Repeat("x", 2<<20) + `"}`
	resp := s.request(t, "POST", "/api/v1/builders/linux/force", func(r *http.Request) {
		r.Body = readCloser(huge)
		r.ContentLength = int64(len(huge))
		r.Header.Set("Content-Type", "application/json")
	})
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
	if calls := s.Calls(); len(calls) != 0 {
		t.Errorf("it was carried out: %v", calls)
	}
}
