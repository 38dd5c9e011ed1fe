package notify

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mailServer is an SMTP server that does what a test has it do.
type mailServer struct {
	port      int
	tls       *tls.Config // offers STARTTLS
	login     string      // insists on AUTH PLAIN with this
	recipient string      // what it answers to RCPT; "" is 250
	silent    bool

	mu  sync.Mutex
	got []string // what it took
	wg  sync.WaitGroup
}

func (s *mailServer) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() {
				defer c.Close()
				s.serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.wg.Wait()
	})
}

func (s *mailServer) serve(c net.Conn) {
	r := bufio.NewReader(c)
	say := func(lines ...string) {
		for _, line := range lines {
			c.Write([]byte(line + "\r\n"))
		}
	}
	if s.silent {
		r.ReadString('\n')
		return
	}
	say("220 test ESMTP")
	secure, known := false, s.login == ""
	var data strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(verb) {
		case "EHLO", "HELO":
			lines := []string{"250-test", "250-AUTH PLAIN"}
			if s.tls != nil && !secure {
				lines = append(lines, "250-STARTTLS")
			}
			say(append(lines, "250 8BITMIME")...)
		case "STARTTLS":
			say("220 go on")
			over := tls.Server(c, s.tls)
			if over.Handshake() != nil {
				return
			}
			c, r, secure = over, bufio.NewReader(over), true
		case "AUTH":
			_, encoded, _ := strings.Cut(rest, " ")
			plain, _ := base64.StdEncoding.DecodeString(encoded)
			if known = secure && string(plain) == s.login; known {
				say("235 welcome")
			} else {
				say("535 no")
			}
		case "MAIL":
			if !known {
				say("530 who are you?")
				continue
			}
			say("250 ok")
		case "RCPT":
			if s.recipient != "" {
				say(s.recipient)
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go on")
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				data.WriteString(line)
			}
			s.mu.Lock()
			s.got = append(s.got, data.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *mailServer) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

// certificate is one that a server made for itself, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func aMail() dormouse.Mail {
	return dormouse.Mail{
		MessageID: "missing.w.1@dormouse", From: "ci@example.org", To: []string{"ops@example.org"},
		Subject: "worker w did not attach", Text: "its console ends with ☃", CreatedAt: time.Unix(1700000000, 0),
	}
}

func TestSMTP(t *testing.T) {
	cert, pool := certificate(t)
	secure := &tls.Config{Certificates: []tls.Certificate{cert}}
	const login = "\x00ci\x00hunter2"
	for _, tc := range []struct {
		name   string
		server *mailServer
		by     SMTP
		code   dormouse.Code // "" is sent
	}{
		{"plain", &mailServer{}, SMTP{}, ""},
		{"encrypted where that is offered", &mailServer{tls: secure}, SMTP{RootCAs: pool}, ""},
		{"encrypted, with a password", &mailServer{tls: secure, login: login}, SMTP{STARTTLS: true, User: "ci", Password: "hunter2", RootCAs: pool}, ""},
		{"a wrong password", &mailServer{tls: secure, login: login}, SMTP{STARTTLS: true, User: "ci", Password: "guess", RootCAs: pool}, dormouse.Unavailable},
		{"no encryption where it is insisted on", &mailServer{}, SMTP{STARTTLS: true}, dormouse.Unavailable},
		{"a certificate that nobody vouches for", &mailServer{tls: secure}, SMTP{STARTTLS: true}, dormouse.Unavailable},
		{"refused for now", &mailServer{recipient: "451 later"}, SMTP{}, dormouse.Unavailable},
		{"refused for good", &mailServer{recipient: "550 nobody here"}, SMTP{}, dormouse.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tc.server
			s.start(t)
			tc.by.Host, tc.by.Port = "localhost", s.port
			err := tc.by.Send(t.Context(), aMail())
			if dormouse.CodeOf(err) != tc.code {
				t.Fatalf("%q: %v", dormouse.CodeOf(err), err)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "guess")) {
				t.Errorf("a password is shown: %v", err)
			}
			got := s.taken()
			if (len(got) == 1) != (tc.code == "") {
				t.Fatalf("it took %q", got)
			}
			if tc.code != "" {
				return
			}
			for _, want := range []string{"Message-ID: <missing.w.1@dormouse>", "Subject: worker w did not attach", "To: <ops@example.org>", "From: <ci@example.org>", "its console ends with"} {
				if !strings.Contains(got[0], want) {
					t.Errorf("it does not say %q:\n%s", want, got[0])
				}
			}
		})
	}
}

// TestSMTPSilent: a server that says nothing holds nobody up for ever.
func TestSMTPSilent(t *testing.T) {
	s := &mailServer{silent: true}
	s.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := (SMTP{Host: "localhost", Port: s.port}).Send(ctx, aMail()); dormouse.CodeOf(err) != dormouse.Unavailable {
		t.Error(err)
	}
}
