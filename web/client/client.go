// Package client is the Go client of a Dormouse master's REST API. The
// commands of cmd/dormouse are written with it.
//
// A call that fails returns a *dormouse.Error: Unavailable when nobody answers
// at the address, Unauthorized when the token is missing or not the master's,
// and otherwise the code and the text the master answered with.
//
// [Client.Events] and [Client.FollowLog] outlive cut connections and restarts
// of the master: they come back by themselves, where they were.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

const (
	// callTimeout bounds one call that is no stream. Lists come from an index;
	// a master that takes longer is in trouble.
	callTimeout = 30 * time.Second
	// maxAnswer bounds what an answer may hold: a page of 1,000 builds with
	// large properties fits many times over.
	maxAnswer = 64 << 20
)

// Client calls one master. It may be used concurrently.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
	// silence is how long a stream may be quiet before it counts as dead.
	silence time.Duration
	// retry is how often, and how long apart, a stream is opened again.
	retry retryPolicy
}

// Option changes a client.
type Option func(*Client)

// WithTransport sends requests through another transport.
func WithTransport(rt http.RoundTripper) Option {
	return func(c *Client) { c.http.Transport = rt }
}

// TrustOnly takes a master's certificate only where these vouch for it.
func TrustOnly(pool *x509.CertPool) Option {
	return func(c *Client) {
		if t, ok := c.http.Transport.(*http.Transport); ok {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
		}
	}
}

// New returns a client of the master at an address such as
// http://127.0.0.1:8010. The token is sent to that address only: the client
// follows no redirect.
func New(address, token string, opts ...Option) (*Client, error) {
	base, err := ParseURL(address)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// A connection that can be made at all is made in this time; the default
	// of 30 seconds is a long silence for somebody at a terminal.
	transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	c := &Client{
		base:  base,
		token: token,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// Three of the master's heartbeats.
		silence: 45 * time.Second,
		retry:   defaultRetry,
	}
	for _, o := range opts {
		o(c)
	}
	return c, nil
}

// ParseURL checks and normalises a master's address, so that equal addresses
// are equal strings.
func ParseURL(address string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, dormouse.Errorf(dormouse.Invalid, "%q is not the address of a master: it looks like http://127.0.0.1:8010", address)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, dormouse.Errorf(dormouse.Invalid, "the address of a master has no user, query or fragment: http://127.0.0.1:8010")
	}
	host := strings.ToLower(u.Host)
	switch {
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return &url.URL{Scheme: u.Scheme, Host: host, Path: strings.TrimRight(u.Path, "/")}, nil
}

// URL returns the master's address, normalised.
func (c *Client) URL() string { return c.base.String() }

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// path joins and escapes the parts of a path below /api/v1.
func path(parts ...string) string {
	var b strings.Builder
	b.WriteString("/api/v1")
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// newRequest makes a request for an escaped path.
func (c *Client) newRequest(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, dormouse.Errorf(dormouse.Invalid, "the request cannot be written as JSON: %w", err)
		}
		r = bytes.NewReader(data)
	}
	target := c.base.String() + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, r)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Invalid, "the request cannot be made: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("User-Agent", "dormouse")
	return req, nil
}

// call makes a request and reads the answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := c.newRequest(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	resp, err := c.send(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		// Read to the end, so that the connection is used again.
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		if ctx.Err() != nil || isCut(err) {
			return c.unavailable(err)
		}
		return c.stranger(err)
	}
	return nil
}

// send makes a request and returns a good answer, or the error that a bad one
// stands for.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		if ctxErr := context.Cause(req.Context()); errors.Is(ctxErr, context.Canceled) {
			return nil, ctxErr
		}
		return nil, c.unavailable(err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refusal(resp)
}

// refusal makes an error of an answer that is none.
func (c *Client) refusal(resp *http.Response) error {
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		return dormouse.Errorf(dormouse.Invalid, "%s redirects to %s: use that address, if you trust it with the token",
			c.base, resp.Header.Get("Location"))
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p web.Problem
	if resp.StatusCode == http.StatusBadRequest && kind == "" && c.base.Scheme == "http" {
		// What net/http says to those who speak without TLS where it is spoken.
		if said, _ := io.ReadAll(io.LimitReader(resp.Body, 512)); bytes.Contains(said, []byte("HTTPS server")) {
			return c.unavailable(errors.New("it speaks TLS: its address begins with https://"))
		}
	}
	if kind != "application/problem+json" || json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&p) != nil {
		if resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusGatewayTimeout {
			return c.unavailable(fmt.Errorf("a proxy answered %s", resp.Status))
		}
		return c.stranger(fmt.Errorf("it answered %s", resp.Status))
	}
	text := p.Detail
	for i, e := range p.Errors {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		text += sep + strings.TrimSpace(e.Location+" "+e.Message)
	}
	return &dormouse.Error{Code: p.Code, Message: text}
}

func (c *Client) unavailable(err error) error {
	// The address is said once, by us; what the transport adds is the cause.
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return &dormouse.Error{Code: dormouse.Unavailable, Message: "no answer from a master at " + c.base.String(), Err: err}
}

func (c *Client) stranger(err error) error {
	return &dormouse.Error{Code: dormouse.Unavailable, Message: "what answers at " + c.base.String() + " is not a Dormouse master", Err: err}
}

// garbled is what cannot be understood in the middle of a stream. To ask again
// would bring the same.
func (c *Client) garbled(err error) error {
	return dormouse.Errorf(dormouse.Internal, "the master at %s sends what this client does not understand; is it of another version? %w", c.base, err)
}

// isCut reports whether reading failed because the connection ended.
func isCut(err error) bool {
	var ne net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne)
}
