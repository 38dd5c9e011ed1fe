package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/dormouse-ci/dormouse"
)

// sendTimeout bounds one conversation with a mail server.
const sendTimeout = time.Minute

// SMTP is a mail server, as Buildbot's MailNotifier names what it needs.
type SMTP struct {
	Host string // relayhost
	Port int
	// STARTTLS insists on encryption after the greeting (useTls), TLS from the
	// first byte on (useSmtps). Without either, the connection is encrypted where
	// the server offers it.
	STARTTLS, TLS  bool
	User, Password string // "" for none
	// RootCAs vouch for the server; nil is the system's.
	RootCAs *x509.CertPool
}

// Send implements [Server].
func (s SMTP) Send(ctx context.Context, m dormouse.Mail) error {
	message := mail.NewMsg()
	err := errors.Join(message.From(m.From), message.To(m.To...))
	if err != nil {
		return dormouse.Errorf(dormouse.Invalid, "an address cannot be: %w", err)
	}
	message.Subject(m.Subject)
	message.SetMessageIDWithValue(m.MessageID)
	message.SetDateWithValue(m.CreatedAt)
	message.SetBulk() // no out-of-office answers
	message.SetBodyString(mail.TypeTextPlain, m.Text)
	secure := &tls.Config{ServerName: s.Host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	var conn net.Conn
	// The connection is ours to close: the library leaves it open when the
	// conversation fails before the mail, and does not look at the context
	// while the server says nothing.
	dial := func(dialing context.Context, network, address string) (_ net.Conn, err error) {
		if s.TLS {
			conn, err = (&tls.Dialer{Config: secure}).DialContext(dialing, network, address)
		} else {
			conn, err = (&net.Dialer{}).DialContext(dialing, network, address)
		}
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() }) // at the latest when Send returns
		}
		return conn, err
	}
	options := []mail.Option{
		mail.WithPort(s.Port), mail.WithTimeout(sendTimeout), mail.WithTLSConfig(secure), mail.WithDialContextFunc(dial),
	}
	switch {
	case s.TLS:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS)) // it is encrypted already
	case s.STARTTLS:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	}
	if s.User != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.User), mail.WithPassword(s.Password))
	}
	client, err := mail.NewClient(s.Host, options...)
	if err != nil {
		return dormouse.Errorf(dormouse.Invalid, "mail server %s: %w", s.Host, err)
	}
	if err := client.DialAndSendWithContext(ctx, message); err != nil {
		code := dormouse.Unavailable
		var refused *mail.SendError
		if errors.As(err, &refused) && !refused.IsTemp() && refused.ErrorCode() >= 500 {
			code = dormouse.Invalid
		}
		return dormouse.Errorf(code, "mail server %s: %w", s.Host, err)
	}
	return nil
}
