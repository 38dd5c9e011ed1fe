package machine

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// MasterURL reads a master's address in any of its forms: ws://HOST:PORT/,
// wss://HOST:PORT/ or HOST:PORT, which is the first. The error is Invalid.
func MasterURL(s string) (string, error) {
	if s == "" {
		return "", dormouse.Errorf(dormouse.Invalid, "no master: give --master HOST:PORT")
	}
	whole := s
	if !strings.Contains(s, "://") {
		whole = "ws://" + s
	}
	u, err := url.Parse(whole)
	if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") || u.Hostname() == "" || u.Port() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", dormouse.Errorf(dormouse.Invalid, "master %q is none of HOST:PORT, ws://HOST:PORT/ and wss://HOST:PORT/", s)
	}
	if port, err := strconv.Atoi(u.Port()); err != nil || port < 1 || port > 65535 {
		return "", dormouse.Errorf(dormouse.Invalid, "master %q has no port between 1 and 65535", s)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String(), nil
}

// ReadTrust reads the certificates, in PEM, by which the master is known; "" is nil:
// those that the system trusts.
func ReadTrust(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca-file: %s holds no certificate in PEM", file)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}
