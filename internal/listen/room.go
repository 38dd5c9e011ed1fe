package listen

import (
	"net"
	"net/netip"
	"slices"
)

// room counts the connections of a listener, and says who gives way. It is not
// safe for concurrent use.
type room struct {
	limits    Limits
	all       int
	strangers int
	byAddress map[string][]*conn // strangers, the oldest first
}

// enter takes a connection in, unless it reports false. leaves, where it is not
// nil, has lost its place to it, and is to be closed.
func (r *room) enter(c *conn) (leaves *conn, entered bool) {
	switch {
	case len(r.byAddress[c.address]) >= r.limits.PerAddress:
		leaves = r.byAddress[c.address][0]
	case r.strangers >= r.limits.Strangers || r.all >= r.limits.Connections:
		leaves = r.oldestOfMost()
	}
	if leaves != nil {
		r.leave(leaves)
	}
	if r.all >= r.limits.Connections {
		return leaves, false
	}
	r.all++
	r.strangers++
	r.byAddress[c.address] = append(r.byAddress[c.address], c)
	c.inside = true
	return leaves, true
}

// oldestOfMost is the oldest stranger of the address that has most; nil where
// there is no stranger.
func (r *room) oldestOfMost() *conn {
	var most []*conn
	for _, from := range r.byAddress {
		if len(from) > len(most) || len(from) == len(most) && len(from) > 0 && from[0].number < most[0].number {
			most = from
		}
	}
	if len(most) == 0 {
		return nil
	}
	return most[0]
}

// prove makes a connection one of a known peer's.
func (r *room) prove(c *conn) {
	if c.inside && !c.proven {
		c.proven = true
		r.forget(c)
	}
}

// leave gives a connection's place free. It may be called again.
func (r *room) leave(c *conn) {
	if !c.inside {
		return
	}
	c.inside = false
	r.all--
	if !c.proven {
		r.forget(c)
	}
}

// forget takes a connection from the strangers.
func (r *room) forget(c *conn) {
	r.strangers--
	from := r.byAddress[c.address]
	if i := slices.Index(from, c); i >= 0 {
		from = slices.Delete(from, i, i+1)
	}
	if len(from) == 0 {
		delete(r.byAddress, c.address)
		return
	}
	r.byAddress[c.address] = from
}

// addressOf is whom a peer's address is taken for: the whole IPv4 address, and of
// an IPv6 one the network of 64 bits, in which one machine has any address that
// it likes.
func addressOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return host
	}
	return network.String()
}
