package listen

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/private"
)

const (
	// lookEvery is how often, at most, a handshake looks whether the files have
	// changed.
	lookEvery = time.Second
	// warnBefore is how long before a certificate's end it is warned of, and
	// warnAgain how often: tools that renew certificates of 90 days do so with
	// 30 days left, and of 7 days with two.
	warnBefore = 14 * 24 * time.Hour
	warnAgain  = 24 * time.Hour
)

// Certificate is a server's certificate with its key, from two files in PEM. They
// are read again when they have changed, for the connections that come then: those
// that there are go on. Files that are of no use leave in force what was read
// before, and are said.
type Certificate struct {
	file, key string
	log       *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	version string    // of the files that were read last, good or bad
	looked  time.Time // when the files were last looked at
	warned  time.Time // when the certificate's end was last warned of
}

// LoadCertificate reads a certificate, which may be followed by those that vouch
// for it, and its key, which only the owner of its file may read. Its error is
// one of configuration.
func LoadCertificate(file, key string, log *slog.Logger) (*Certificate, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Certificate{file: file, key: key, log: log}
	version := c.versionNow()
	pair, err := readPair(file, key)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Configuration, "TLS: %w", err)
	}
	c.pair, c.version, c.looked = pair, version, time.Now()
	c.warnOfEnd(time.Now())
	return c, nil
}

// CheckCertificate says why a certificate and its key could not be loaded.
func CheckCertificate(file, key string) error {
	_, err := readPair(file, key)
	return err
}

// maxPEM is more than any chain of certificates has.
const maxPEM = 1 << 20

// ReadPEM reads a file of certificates.
func ReadPEM(file string) ([]byte, error) {
	if err := plausible(file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// plausible refuses what would never end to be read.
func plausible(file string) error {
	info, err := os.Stat(file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxPEM) {
		err = fmt.Errorf("%s is no file in PEM", file)
	}
	return err
}

func readPair(file, key string) (*tls.Certificate, error) {
	certificate, err := ReadPEM(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	if err := plausible(key); err != nil {
		return nil, fmt.Errorf("read the certificate's key: %w", err)
	}
	secret, err := private.Read(key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate's key: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, secret)
	if err != nil {
		return nil, fmt.Errorf("the certificate %s with the key %s: %s", file, key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &pair, nil
}

// versionNow is a text that changes with the files.
func (c *Certificate) versionNow() string {
	var b strings.Builder
	for _, path := range []string{c.file, c.key} {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(&b, "%v;", err)
			continue
		}
		fmt.Fprintf(&b, "%d %d %v %d;", info.ModTime().UnixNano(), info.Size(), info.Mode(), inode(info))
	}
	return b.String()
}

// get is what a handshake asks.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked) >= lookEvery {
		c.looked = now
		c.look()
		c.warnOfEnd(now)
	}
	return c.pair, nil
}

// look reads the files if they have changed since they were read.
func (c *Certificate) look() {
	version := c.versionNow()
	if version == c.version {
		return
	}
	c.version = version // also when it is bad: it is said once
	pair, err := readPair(c.file, c.key)
	if err != nil {
		c.log.Error("TLS: the new certificate is of no use; the one before stays in force until it is mended", "error", err)
		return
	}
	c.pair, c.warned = pair, time.Time{}
	c.log.Info("TLS: a new certificate is in force", "file", c.file, "until", endOf(pair).Format(time.DateOnly))
}

// warnOfEnd says that the certificate has ended, or soon will.
func (c *Certificate) warnOfEnd(now time.Time) {
	end := endOf(c.pair)
	if now.Before(end.Add(-warnBefore)) || now.Sub(c.warned) < warnAgain {
		return
	}
	c.warned = now
	if now.After(end) {
		c.log.Error("TLS: the certificate has expired: workers and clients refuse it", "file", c.file, "expired", end.Format(time.DateTime))
		return
	}
	c.log.Warn("TLS: the certificate expires soon", "file", c.file, "expires", end.Format(time.DateTime))
}

// endOf is when the first certificate of a chain ends that does.
func endOf(pair *tls.Certificate) time.Time {
	var end time.Time
	for _, der := range pair.Certificate {
		if cert, err := x509.ParseCertificate(der); err == nil && (end.IsZero() || cert.NotAfter.Before(end)) {
			end = cert.NotAfter
		}
	}
	return end
}

// config is that of a server: TLS 1.2 at least, and HTTP/1.1 alone, which workers'
// WebSockets need.
func (c *Certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}
