package wire

import (
	"net/http"
	"slices"
	"strings"
)

// HeaderExtensions is the header of the upgrade's request in which our agent
// says which extensions it can, and of the response in which our master says
// which of them are in force on this connection: names, with commas between.
// A stock peer sends none and is sent none.
const HeaderExtensions = "Dormouse-Extensions"

// Extension is something that our agent and our master do with each other
// beyond the protocol.
type Extension string

// The extensions; the package comment says what each adds.
const (
	// Resume: commands of a group outlive the connection they were started on.
	Resume Extension = "resume"
	// Interruption: the agent tells of EC2's spot interruption notices.
	Interruption Extension = "interruption"
	// Literals: the agent leaves what [Literal] has marked in the values of env.
	Literals Extension = "literals"
	// Groups: the agent ends what a group has left behind.
	Groups Extension = "groups"
	// Ping: each side gives a sign of life every [PingInterval].
	Ping Extension = "ping"
)

// extensions are all that this version can, on either side.
var extensions = Extensions{Resume, Interruption, Literals, Groups, Ping}

// Extensions are those in force on a connection.
type Extensions []Extension

// Has reports whether e is among them.
func (x Extensions) Has(e Extension) bool { return slices.Contains(x, e) }

func (x Extensions) String() string {
	names := make([]string, len(x))
	for i, e := range x {
		names[i] = string(e)
	}
	return strings.Join(names, ", ")
}

// common reads the header and returns what both sides can, in our order, which
// bounds it whatever the other side sent.
func (x Extensions) common(h http.Header) Extensions {
	var out Extensions
	said := strings.Split(strings.Join(h.Values(HeaderExtensions), ","), ",")
	for i, s := range said {
		said[i] = strings.TrimSpace(s)
	}
	for _, e := range x {
		if slices.Contains(said, string(e)) {
			out = append(out, e)
		}
	}
	return out
}
