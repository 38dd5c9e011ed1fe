package listen

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/testca"
)

// inAMonth is not near enough to be warned of.
func inAMonth() time.Time { return time.Now().Add(30 * 24 * time.Hour) }

// serveTLS serves with a certificate, and returns how a new connection sees it.
func serveTLS(t *testing.T, ca *testca.CA, c *Certificate) (l *Listener, dialTLS func() *tls.Conn) {
	t.Helper()
	l = serve(t, Options{Limits: Share(0.5), Certificate: c})
	return l, func() *tls.Conn {
		t.Helper()
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: ca.Pool(), NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

func serial(c *tls.Conn) int64 { return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64() }

// A certificate that is renewed is in force for the next connection, and those
// that are there go on. One that is of no use changes nothing, and is said once.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	ca, dir := testca.New(t), t.TempDir()
	file, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca.Issue(t, file, key, 1, inAMonth())
	var log buffer
	c, err := LoadCertificate(file, key, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, dialTLS := serveTLS(t, ca, c)
	look := func() { // as if lookEvery had passed
		c.mu.Lock()
		defer c.mu.Unlock()
		c.looked = time.Time{}
	}
	first := dialTLS()
	if got := serial(first); got != 1 {
		t.Fatalf("serial number %d", got)
	}
	if got := ask(t, first, "right"); got != "HTTP/1.1 200 OK" {
		t.Fatal(got)
	}
	ca.Issue(t, file, key, 2, inAMonth())
	look()
	if got := serial(dialTLS()); got != 2 {
		t.Errorf("after the renewal the serial number is %d", got)
	}
	for _, text := range []string{"", "-----BEGIN CERTIFICATE-----\nno\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			look()
			if got := serial(dialTLS()); got != 2 {
				t.Errorf("with a broken file the serial number is %d", got)
			}
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("two broken files are said %d times:\n%s", n, log.String())
	}
	ca.Issue(t, file, key, 3, inAMonth())
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	look()
	if got := serial(dialTLS()); got != 2 || !strings.Contains(log.String(), "chmod 600") {
		t.Errorf("with a key that others may read the serial number is %d; the log says\n%s", got, log.String())
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	look()
	if got := serial(dialTLS()); got != 3 {
		t.Errorf("once it is mended the serial number is %d", got)
	}
	if got := ask(t, first, "right"); got != "HTTP/1.1 200 OK" {
		t.Errorf("the connection from before: %s", got)
	}
}

func TestTLSVersions(t *testing.T) {
	t.Parallel()
	ca, dir := testca.New(t), t.TempDir()
	file, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca.Issue(t, file, key, 1, inAMonth())
	c, err := LoadCertificate(file, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, dialTLS := serveTLS(t, ca, c)
	for version, good := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS10, MaxVersion: version})
		if (err == nil) != good {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if got := dialTLS().ConnectionState().NegotiatedProtocol; got == "h2" {
		t.Error("HTTP/2 has other limits, and no WebSockets")
	}
	// Proved through TLS, too, a connection is no stranger's.
	conn := dialTLS()
	if got := ask(t, conn, "right"); got != "HTTP/1.1 200 OK" {
		t.Fatal(got)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room.all-l.room.strangers != 1 {
		t.Errorf("%d connections are known", l.room.all-l.room.strangers)
	}
}

func TestCertificateRefused(t *testing.T) {
	t.Parallel()
	ca, dir := testca.New(t), t.TempDir()
	file, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	other := filepath.Join(dir, "other.key")
	ca.Issue(t, filepath.Join(dir, "other.crt"), other, 1, inAMonth())
	ca.Issue(t, file, key, 1, inAMonth())
	open := filepath.Join(dir, "open.key")
	text, err := os.ReadFile(key)
	if err == nil {
		err = os.WriteFile(open, text, 0o600)
	}
	if err == nil {
		err = os.Chmod(open, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, key, want string }{
		{file, other, "private key does not match"},
		{file, open, "chmod 600"},
		{file, filepath.Join(dir, "none"), "no such file"},
		{filepath.Join(dir, "none"), key, "no such file"},
		{dir, key, "no file in PEM"},
		{key, key, "certificate PEM data"},
	} {
		_, err := LoadCertificate(tt.file, tt.key, nil)
		if err == nil || dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with %s: %v", tt.file, tt.key, err)
		}
	}
}

func TestExpiryIsWarnedOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		until time.Duration
		want  string
	}{
		"far":  {30 * 24 * time.Hour, ""},
		"near": {7 * 24 * time.Hour, `level=WARN msg="TLS: the certificate expires soon"`},
		"past": {-time.Minute, `level=ERROR msg="TLS: the certificate has expired`},
	} {
		ca, dir := testca.New(t), t.TempDir()
		file, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
		ca.Issue(t, file, key, 1, time.Now().Add(tt.until))
		var log buffer
		c, err := LoadCertificate(file, key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // it is said once a day
			c.looked = time.Time{}
			if _, err := c.get(nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := log.String(); !strings.Contains(got, tt.want) || strings.Count(got, "\n") != min(len(tt.want), 1) {
			t.Errorf("%s: the log says %q", name, got)
		}
	}
}

// Who speaks without TLS where it is spoken is told.
func TestPlainToTLS(t *testing.T) {
	t.Parallel()
	ca, dir := testca.New(t), t.TempDir()
	file, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca.Issue(t, file, key, 1, inAMonth())
	c, err := LoadCertificate(file, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, _ := serveTLS(t, ca, c)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(httpGet(t, "http://"+l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%s", resp.Status)
	}
}

func httpGet(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
