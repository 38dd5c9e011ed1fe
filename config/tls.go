package config

import (
	"crypto/x509"
	"net"
	"path/filepath"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/internal/listen"
)

// tlsKeys are the keys by which a port gets a certificate.
var tlsKeys = wordSet("tls_certificate tls_key")

// encrypted reads the certificate of a port, and warns where others reach it and
// it has none. what says what goes over it.
func (g *global) encrypted(values map[string]field, address string, t *TLS, what string) {
	port := values["port"]
	for _, key := range sortedKeys(tlsKeys) {
		f, ok := values[key]
		if !ok || f.v == starlark.None {
			continue
		}
		name, ok := f.file()
		if !ok {
			return
		}
		if t.Certificate != "" && t.Key != "" {
			f.r.errorf(f.at, "leave one of them out", "%s: the port says already where its certificate is", f.label)
			return
		}
		if key == "tls_key" {
			t.Key = name
		} else {
			t.Certificate = name
		}
	}
	switch {
	case t.Certificate == "" && t.Key == "":
		if address != "" && !onLoopback(address) {
			g.r.warnf(port.at, "give it tls_certificate and tls_key, or let it listen for a proxy on this machine: 'tcp:PORT:interface=127.0.0.1'",
				"others can reach %s, which has no TLS: %s can be read on the way", port.label, what)
		}
		return
	case t.Certificate == "" || t.Key == "":
		missing, given := "tls_certificate", values["tls_key"]
		if t.Key == "" {
			missing, given = "tls_key", values["tls_certificate"]
		}
		g.r.errorf(given.at, "", "%s needs %s beside it", given.label, missing)
		return
	}
	at := port
	if f, ok := values["tls_certificate"]; ok {
		at = f
	}
	t.Certificate, t.Key = g.inBase(t.Certificate), g.inBase(t.Key)
	if err := listen.CheckCertificate(t.Certificate, t.Key); err != nil {
		g.r.errorf(at.at, "", "%s: %v", at.label, err)
	}
}

// caFile reads the name of a file with certificates.
func (g *global) caFile(f field) string {
	name, ok := f.file()
	if !ok {
		return ""
	}
	name = g.inBase(name)
	text, err := listen.ReadPEM(name)
	if err != nil {
		g.r.errorf(f.at, "", "%s: %v", f.label, err)
		return ""
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		g.r.errorf(f.at, "", "%s: %s holds no certificate in PEM", f.label, name)
	}
	return name
}

// file reads the name of a file.
func (f field) file() (string, bool) {
	name, ok := f.v.(starlark.String)
	if !ok || name == "" {
		f.bad("the name of a file")
		return "", false
	}
	return string(name), true
}

// inBase makes a path of one that is relative to the configuration's directory.
func (g *global) inBase(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(g.r.opts.BaseDir, name)
}

// onLoopback reports whether only this machine reaches an address.
func onLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
