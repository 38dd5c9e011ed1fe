package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"go.starlark.net/starlark"
)

// maxPort is TCP's.
const maxPort = 65535

// listen reads a port, a number or Twisted's 'tcp:PORT:interface=ADDRESS' or
// 'ssl:PORT:privateKey=FILE:certKey=FILE', as an address to listen on; host is
// where a port without an interface listens.
func (f field) listen(host string) (address string, t TLS) {
	const allowed = "a port (0 to 65535), 'tcp:PORT:interface=ADDRESS' or 'ssl:PORT:privateKey=FILE:certKey=FILE'"
	port := ""
	switch v := f.v.(type) {
	case starlark.Int:
		port = v.String()
	case starlark.String:
		kind, rest, found := strings.Cut(string(v), ":")
		if !found {
			port = kind
			break
		}
		ssl := strings.EqualFold(kind, "ssl")
		if !ssl && !strings.EqualFold(kind, "tcp") && !strings.EqualFold(kind, "tcp6") {
			f.bad(allowed)
			return "", t
		}
		for i, part := range splitEscaped(rest) {
			key, value, named := strings.Cut(part, "=")
			switch {
			case !named && i == 0:
				port = part
			case named && key == "port":
				port = value
			case named && key == "interface":
				if host = strings.Trim(value, "[]"); !validHost(host) {
					f.r.errorf(f.at, "", "%s: %s is no address of an interface", f.label, quote(value))
					return "", t
				}
			case named && ssl && key == "privateKey":
				t.Key = value
			case named && ssl && key == "certKey":
				t.Certificate = value
			case named && key == "backlog":
			default:
				f.bad(allowed)
				return "", t
			}
		}
		if ssl && (t.Key == "" || t.Certificate == "") {
			f.bad(allowed)
			return "", TLS{}
		}
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > maxPort {
		f.bad(allowed)
		return "", TLS{}
	}
	return net.JoinHostPort(host, strconv.Itoa(n)), t
}

func validHost(host string) bool {
	if host == "localhost" {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// splitEscaped splits at colons but for those after a backslash, which is how
// an IPv6 address is written.
func splitEscaped(s string) []string {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			part.WriteByte(s[i])
		case s[i] == ':':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(s[i])
		}
	}
	return append(parts, part.String())
}
