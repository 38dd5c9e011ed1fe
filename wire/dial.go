package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/dormouse-ci/dormouse"
)

// handshakeTimeout bounds a handshake whose context has no deadline. It leaves
// the master the time of its second-connection check, twice.
const handshakeTimeout = 30 * time.Second

// DialOptions say where and as whom an agent connects. URL, Name and Handler
// are required.
type DialOptions struct {
	URL        string // ws://host:port/ or wss://
	Name       string
	Password   string
	InstanceID string // of the EC2 instance; "" is not sent
	Session    string // of this process; "" is not sent, and commands end with the connection
	SecretHash string // what the agent commits to: see [HeaderSecretHash]; "" is not sent
	Machine    string // the token that an earlier process got: see [HeaderMachine]; "" is not sent
	Agent      string // the User-Agent
	Handler    AgentHandler
	// Connected, if not nil, is called with the connection before any method of
	// Handler is, since the master may ask for something before Dial returns.
	Connected func(*AgentConn)
	// Trust says which certificates are taken for the master's, where URL is
	// wss://; nil: those that the system trusts.
	Trust *tls.Config
	// DialContext makes the connection below; by default it is TCP.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Log         *slog.Logger // default: discard
}

// Dial connects to a master. Its errors are a *dormouse.Error: Unauthorized
// for a name and password that the master does not know; Conflict for a stale
// generation, so that this machine should end; Invalid for a URL that is none;
// Unavailable for everything that may pass, also for a worker of this name that
// is connected already. The context is of the handshake only.
func Dial(ctx context.Context, o DialOptions) (*AgentConn, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if scheme, host, ok := strings.Cut(o.URL, "://"); !ok || host == "" || scheme != "ws" && scheme != "wss" {
		return nil, dormouse.Errorf(dormouse.Invalid, "%q is not the address of a master (ws://host:port/)", o.URL)
	}
	if strings.Contains(o.Name, ":") || o.Name == "" {
		return nil, dormouse.Errorf(dormouse.Invalid, "%q cannot be a worker's name: it must be something, without a colon", o.Name)
	}
	transport := Transport(o.Trust)
	if o.DialContext != nil {
		transport.DialContext = o.DialContext
	}
	defer transport.CloseIdleConnections()
	header := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(o.Name+":"+o.Password))}}
	for name, value := range map[string]string{HeaderInstance: o.InstanceID, HeaderSession: o.Session, HeaderSecretHash: o.SecretHash, HeaderMachine: o.Machine} {
		if value != "" {
			header.Set(name, value)
		}
	}
	header.Set(HeaderExtensions, extensions.String())
	if o.Agent != "" {
		header.Set("User-Agent", o.Agent)
	}
	ws, resp, err := websocket.Dial(ctx, o.URL, &websocket.DialOptions{ //nolint:bodyclose // Dial's callers never close the body: it is a buffer, or the connection
		HTTPClient:      &http.Client{Transport: transport, CheckRedirect: noRedirect},
		HTTPHeader:      header,
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, dialError(o, resp, err)
	}
	c := newAgentConn(ws, "master "+o.URL, extensions.common(resp.Header), o.Handler, o.Log)
	c.secretBound = o.SecretHash != "" && resp.Header.Get(HeaderSecretHash) == o.SecretHash
	c.machine = shorten(resp.Header.Get(HeaderMachine), maxName)
	if o.Connected != nil {
		o.Connected(c)
	}
	c.run()
	return c, nil
}

// Transport returns what carries an agent's requests to its master: a connection
// for each. Encrypted ones go through the proxy that HTTPS_PROXY names, less what
// NO_PROXY excepts; others through none, as those of the stock worker do.
func Transport(trust *tls.Config) *http.Transport {
	return &http.Transport{
		DialContext:       (&net.Dialer{}).DialContext,
		TLSClientConfig:   trust,
		DisableKeepAlives: true,
		Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme != "https" {
				return nil, nil
			}
			return http.ProxyFromEnvironment(r)
		},
	}
}

// ExplainTLS adds to an error of a connection what it takes where the two ends do
// not agree on TLS; other errors stay as they are.
func ExplainTLS(err error) error {
	var unknown x509.UnknownAuthorityError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w (the file of the CA's certificate is named by --ca-file, or SSL_CERT_FILE)", err)
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w (this port has no TLS: its address begins with ws://)", err)
	}
	return err
}

// noRedirect keeps the password from going anywhere but to the URL.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// dialError classifies a failed handshake.
func dialError(o DialOptions, resp *http.Response, err error) error {
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return dormouse.Errorf(dormouse.Unavailable, "master %s does not answer: %w", o.URL, ExplainTLS(err))
	}
	said := ""
	if resp.Body != nil {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		said = strings.TrimSpace(strings.ToValidUTF8(string(body), "\uFFFD"))
	}
	e := &dormouse.Error{Code: dormouse.Unavailable, Remote: resp.Status}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Code = dormouse.Unauthorized
		e.Message = fmt.Sprintf("master %s refuses worker %q and its password", o.URL, o.Name)
	case http.StatusConflict:
		e.Code = dormouse.Conflict
		e.Message = fmt.Sprintf("master %s has no more use for this machine as worker %q", o.URL, o.Name)
	default:
		e.Message = fmt.Sprintf("master %s refuses the connection (%s)", o.URL, resp.Status)
	}
	if said != "" {
		e.Message += ": " + said
	}
	return e
}
