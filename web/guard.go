package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/listen"
)

// maxBody bounds a request's body. The largest legitimate one is a force with
// properties; huma's own limit is the same.
const maxBody = 1 << 20

// StrongToken is the length from which on nobody guesses a token. A shorter one is
// braked by address, which whoever shares the address feels: so there is none for
// those that "dormouse init" makes.
const StrongToken = 20

// guard stands before everything: who may call, from where, with how much.
type guard struct {
	next http.Handler
	// tokenSum is the SHA-256 of the token, so that a comparison takes the
	// same time whatever the length of what was sent; nil lets nobody in.
	tokenSum []byte
	// brake slows those who try tokens; nil where nobody can guess it.
	brake       *listen.Brake
	openMetrics bool
	// hosts are the names, besides loopback ones, under which the server may
	// be addressed on a loopback address: a proxy's public name.
	hosts map[string]bool
	// origins are the web origins that may call, besides the server's own.
	origins map[string]bool
}

func newGuard(next http.Handler, o Options) *guard {
	g := &guard{next: next, openMetrics: o.OpenMetrics, hosts: map[string]bool{}, origins: map[string]bool{}}
	if o.Token != "" {
		sum := sha256.Sum256([]byte(o.Token))
		g.tokenSum = sum[:]
		if len(o.Token) < StrongToken {
			g.brake = listen.NewBrake()
		}
	}
	for _, h := range o.Hosts {
		g.hosts[strings.ToLower(h)] = true
	}
	if u, err := url.Parse(o.Service.Info().BuildbotURL); err == nil && u.Host != "" {
		g.hosts[strings.ToLower(u.Hostname())] = true
		g.origins[originOf(u)] = true
	}
	return g
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	// Logs are other people's text: whatever they hold, a browser that shows
	// an answer runs nothing of it.
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cache-Control", "no-store")

	if p := g.refuse(r); p != nil {
		if p.Status == http.StatusUnauthorized {
			h.Set("WWW-Authenticate", `Bearer realm="dormouse"`)
		}
		writeProblem(w, p)
		return
	}
	if r.Body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	g.next.ServeHTTP(w, r)
}

// refuse returns why a request may not go on, or nil.
func (g *guard) refuse(r *http.Request) *Problem {
	if !g.hostAllowed(r) {
		return newProblem(http.StatusMisdirectedRequest, dormouse.Unauthorized,
			"this master does not answer to the host name of the request; use its address, or set c['buildbotURL'] to the name it is reached by")
	}
	if !g.originAllowed(r) {
		return newProblem(http.StatusForbidden, dormouse.Unauthorized,
			"requests from web pages of another origin are refused")
	}
	if r.URL.Path == "/healthz" || (r.URL.Path == "/metrics" && g.openMetrics) {
		return nil
	}
	if g.tokenSum == nil {
		return newProblem(http.StatusUnauthorized, dormouse.Unauthorized,
			"this master has no token, so nobody may use its API; give it one and start it again")
	}
	token, ok := bearer(r.Header.Get("Authorization"))
	if !ok {
		return newProblem(http.StatusUnauthorized, dormouse.Unauthorized,
			"a token is needed: send it as \"Authorization: Bearer TOKEN\"")
	}
	sum := sha256.Sum256([]byte(token))
	right := subtle.ConstantTimeCompare(sum[:], g.tokenSum) == 1
	if g.brake != nil {
		if wait := g.brake.Wait(r.RemoteAddr, "", true, right); wait > 0 {
			return newProblem(http.StatusTooManyRequests, dormouse.Throttled,
				"too many wrong tokens have come from this address: try again in "+wait.Round(time.Second).String())
		}
	}
	if !right {
		return newProblem(http.StatusUnauthorized, dormouse.Unauthorized, "the token is not this master's")
	}
	listen.Prove(r.Context())
	return nil
}

// bearer takes the token out of an Authorization header.
func bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// hostAllowed guards a server on a loopback address against DNS rebinding: a
// page whose name suddenly means 127.0.0.1 is told from the machine's own user
// by the name alone. On any other address the name tells nothing.
func (g *guard) hostAllowed(r *http.Request) bool {
	host := hostname(r.Host)
	if host == "" {
		return false
	}
	if !arrivedOnLoopback(r) || g.hosts[host] {
		return true
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// arrivedOnLoopback reports whether the connection's own end is a loopback
// address, and supposes so where it cannot tell.
func arrivedOnLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return true
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return err != nil || ap.Addr().Unmap().IsLoopback()
}

// originAllowed refuses what a browser sends on behalf of somebody else's
// page. Programs send no Origin.
func (g *guard) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" { // "null", too
		return false
	}
	return strings.EqualFold(u.Host, r.Host) || g.origins[originOf(u)]
}

func originOf(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }

// hostname returns the name in a Host header, without port and brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}
