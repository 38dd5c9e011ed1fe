package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/internal/testca"
)

// TestTLS: how a port gets a certificate, what is wrong with one, and that a port
// which others reach without one is warned of, at its place.
func TestTLS(t *testing.T) {
	ca, dir := testca.New(t), t.TempDir()
	file, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca.Issue(t, file, key, 1, time.Now().Add(20*time.Hour))
	readable := filepath.Join(dir, "readable.key")
	text, err := os.ReadFile(key)
	if err == nil {
		err = os.WriteFile(readable, text, 0o600)
	}
	if err == nil {
		err = os.Chmod(readable, 0o604)
	}
	if err != nil {
		t.Fatal(err)
	}
	const certificate = `'tls_certificate': 'tls.crt', 'tls_key': 'tls.key'`
	both := TLS{Certificate: file, Key: key}
	for _, tt := range []struct {
		protocol, www string
		tls, wwwTLS   TLS
		said          string // the only mistake or warning, with its position
	}{
		{`{'port': 'tcp:9989:interface=127.0.0.1'}`, `{'port': 8010}`, TLS{}, TLS{}, ""},
		{`{'port': 'tcp:9989:interface=\\:\\:1'}`, `{'port': 'tcp:8010:interface=localhost'}`, TLS{}, TLS{}, ""},
		{`{'port': 9989, ` + certificate + `}`, `{'port': 'tcp:8010:interface=0.0.0.0', ` + certificate + `}`, both, both, ""},
		{`{'port': 'ssl:9989:privateKey=tls.key:certKey=tls.crt'}`, `{'port': 'ssl:8010:interface=0.0.0.0:privateKey=tls.key:certKey=tls.crt'}`, both, both, ""},
		{`{'port': 9989, ` + certificate + `, 'tls_ca': '` + ca.File + `'}`, `{}`, both, TLS{}, ""},
		{`{'port': 9989}`, `{}`, TLS{}, TLS{}, "m.star:3:55: others can reach c['protocols']['msgpack_experimental_v7']['port'], which has no TLS: workers' passwords"},
		{`{'port': 'tcp:9989:interface=192.0.2.1'}`, `{}`, TLS{}, TLS{}, "m.star:3:55: others can reach"},
		{`{'port': 9989, ` + certificate + `}`, `{'port': 'tcp:8010:interface=0.0.0.0'}`, both, TLS{}, "m.star:4:21: others can reach c['www']['port'], which has no TLS: the API's token"},
		{`{'port': 9989, 'tls_key': 'tls.key'}`, `{}`, TLS{}, TLS{}, "m.star:3:72: c['protocols']['msgpack_experimental_v7']['tls_key'] needs tls_certificate beside it"},
		{`{'port': 9989, 'tls_certificate': 'tls.crt'}`, `{}`, TLS{}, TLS{}, "needs tls_key beside it"},
		{`{'port': 9989, 'tls_certificate': 5, 'tls_key': 'tls.key'}`, `{}`, TLS{}, TLS{}, "must be the name of a file, not 5"},
		{`{'port': 9989, 'tls_certificate': 'tls.crt', 'tls_key': 'none'}`, `{}`, TLS{}, TLS{}, "no such file"},
		{`{'port': 9989, 'tls_certificate': 'tls.crt', 'tls_key': 'readable.key'}`, `{}`, TLS{}, TLS{}, "chmod 600"},
		{`{'port': 9989, 'tls_certificate': '/dev/zero', 'tls_key': 'tls.key'}`, `{}`, TLS{}, TLS{}, "no file in PEM"},
		{`{'port': 'ssl:9989:privateKey=tls.key:certKey=tls.crt', ` + certificate + `}`, `{}`, TLS{}, TLS{}, "leave one of them out"},
		{`{'port': 9989, ` + certificate + `, 'tls_ca': 'tls.key'}`, `{}`, TLS{}, TLS{}, "holds no certificate"},
		{`{'port': 9989, ` + certificate + `, 'tls_cert': 'x'}`, `{}`, TLS{}, TLS{}, "did you mean tls_"},
		{`{'port': 'tcp:9989:interface=127.0.0.1'}`, `{'port': 8010, 'tls_cert': 'x'}`, TLS{}, TLS{}, "did you mean tls_"},
	} {
		source := strings.Replace(string(minimal("")), "{'port': 'tcp:9989:interface=127.0.0.1'}}\n", tt.protocol+"}\nc['www'] = "+tt.www+"\n", 1)
		o := testOptions()
		o.BaseDir = dir
		m, err := Parse("m.star", []byte(source), o)
		var said string
		switch {
		case err != nil:
			said = err.Error()
		case len(m.Warnings) > 0:
			said = m.Warnings[0].Error()
		}
		if (said == "") != (tt.said == "") || !strings.Contains(said, tt.said) || strings.Contains(said, "\n") {
			t.Errorf("%s, %s: it says %q, want %q", tt.protocol, tt.www, said, tt.said)
		}
		if err == nil && (m.Protocols.TLS != tt.tls || m.WWW.TLS != tt.wwwTLS) {
			t.Errorf("%s, %s: %+v and %+v", tt.protocol, tt.www, m.Protocols.TLS, m.WWW.TLS)
		}
	}
}

// A secret's file that others may read is refused where it is used, with how to
// mend it, and what is in it is not shown.
func TestSecretThatOthersMayRead(t *testing.T) {
	o := testOptions()
	o.SecretsDir = t.TempDir()
	path := filepath.Join(o.SecretsDir, "pw")
	err := os.WriteFile(path, []byte("hunter2"), 0o600)
	if err == nil {
		err = os.Chmod(path, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	source := strings.Replace(string(minimal("")), "'pw'", "util.Secret('pw')", 1)
	_, err = Parse("m.star", []byte(source), o)
	if err == nil || !strings.HasPrefix(err.Error(), "m.star:4:") || !strings.Contains(err.Error(), "chmod 600 "+path) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}
