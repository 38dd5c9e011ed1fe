package listen

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func newRoom(l Limits) *room { return &room{limits: l, byAddress: map[string][]*conn{}} }

// Who has just come in is never the one that gives way, and a flood from one
// address takes its own places.
func TestFloodTakesItsOwnPlaces(t *testing.T) {
	t.Parallel()
	r := newRoom(Limits{Connections: 20, Strangers: 10, PerAddress: 8})
	number := uint64(0)
	enter := func(address string) *conn {
		number++
		c := &conn{address: address, number: number}
		if _, ok := r.enter(c); !ok {
			t.Fatalf("%s is refused", address)
		}
		return c
	}
	quiet := []*conn{enter("quiet"), enter("quiet")}
	for range 1000 {
		enter("flood")
	}
	for range 1000 {
		other := enter("other")
		r.prove(other)
		r.leave(other)
	}
	for _, c := range quiet {
		if !c.inside {
			t.Error("a flood from another address took a place of one that had two")
		}
	}
	if got := len(r.byAddress["flood"]); got < 6 || got > 8 {
		t.Errorf("the flood has %d places", got)
	}
}

func TestKnownPeersKeepTheirPlaces(t *testing.T) {
	t.Parallel()
	r := newRoom(Limits{Connections: 4, Strangers: 2, PerAddress: 2})
	var known []*conn
	for i := range 4 {
		c := &conn{address: "worker", number: uint64(i)}
		if _, ok := r.enter(c); !ok {
			t.Fatal("refused")
		}
		r.prove(c)
		known = append(known, c)
	}
	if leaves, ok := r.enter(&conn{address: "x"}); ok || leaves != nil {
		t.Errorf("a stranger takes a place where all are of known peers: %v, %v", leaves, ok)
	}
	r.leave(known[0])
	if _, ok := r.enter(&conn{address: "x"}); !ok {
		t.Error("no place, though one is free")
	}
}

// The limits hold, and the counts are right, whatever happens.
func TestRoomHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{
			Connections: rapid.IntRange(1, 8).Draw(t, "connections"), Strangers: rapid.IntRange(1, 8).Draw(t, "strangers"),
			PerAddress: rapid.IntRange(1, 4).Draw(t, "per address"),
		}
		r := newRoom(limits)
		var all []*conn
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			switch what := rapid.IntRange(0, 3).Draw(t, "what"); {
			case what <= 1 || len(all) == 0:
				c := &conn{address: fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "address")), number: uint64(len(all))}
				leaves, entered := r.enter(c)
				if leaves != nil && (leaves.inside || leaves.proven || leaves == c) {
					t.Fatalf("who gives way: %+v", leaves)
				}
				if entered != c.inside {
					t.Fatal("it is not where it is said to be")
				}
				all = append(all, c)
			case what == 2:
				r.prove(rapid.SampledFrom(all).Draw(t, "proves"))
			default:
				r.leave(rapid.SampledFrom(all).Draw(t, "leaves"))
			}
			inside, strangers, from := 0, 0, map[string]int{}
			for _, c := range all {
				if !c.inside {
					continue
				}
				inside++
				if !c.proven {
					strangers++
					from[c.address]++
				}
			}
			if inside != r.all || inside > limits.Connections || strangers != r.strangers || strangers > limits.Strangers || len(from) != len(r.byAddress) {
				t.Fatalf("%d inside and %d strangers; counted %d and %d of %+v", inside, strangers, r.all, r.strangers, limits)
			}
			for address, n := range from {
				if n > limits.PerAddress || len(r.byAddress[address]) != n {
					t.Fatalf("%d strangers from %s, counted %d", n, address, len(r.byAddress[address]))
				}
			}
		}
	})
}

func TestAddressOf(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"192.0.2.1:5":            "192.0.2.1",
		"[::ffff:192.0.2.1]:5":   "192.0.2.1",
		"[2001:db8:1:2:3::4]:5":  "2001:db8:1:2::/64",
		"[2001:db8:1:2:9::9]:77": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:5":       "fe80::/64",
		"pipe":                   "pipe",
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

// Whatever the limit of descriptors, some are left for what is no connection.
func TestShareLeavesDescriptors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		descriptors int
		connections int
		reserve     int
	}{{64, 8, 48}, {200, 95, 64}, {1024, 537, 256}, {65536, maxConnections, 4096}, {1 << 30, maxConnections, 4096}} {
		workers, www := share(tt.descriptors, 0.7), share(tt.descriptors, 0.3)
		if workers.Connections != tt.connections {
			t.Errorf("of %d descriptors %d connections, want %d", tt.descriptors, workers.Connections, tt.connections)
		}
		if left := tt.descriptors - workers.Connections - www.Connections; left < tt.reserve {
			t.Errorf("of %d descriptors %d are left", tt.descriptors, left)
		}
		for _, l := range []Limits{workers, www} {
			if l.PerAddress < 1 || l.PerAddress > l.Strangers || l.Strangers >= l.Connections {
				t.Errorf("%+v", l)
			}
		}
	}
}
