package listen

// Limits bound the connections of one listener.
type Limits struct {
	Connections int // at one time
	Strangers   int // of them, those that have not proved anything
	PerAddress  int // of the strangers, those from one address
}

const (
	// minReserve is how many descriptors are kept from connections at least: an
	// idle master holds about 20, its pool of database connections takes up to
	// 30, and calls of EC2 the rest.
	minReserve = 64
	// maxReserve is as much as a master uses for thousands of workers.
	maxReserve = 4096
	// maxConnections is what one listener has at most: each takes some 20 KB.
	maxConnections = 16384
	// maxStrangers is how many strangers a listener has at most. With a header
	// that is not finished each takes up to 50 KB.
	maxStrangers = 1024
	// maxPerAddress is how many strangers one address has. Behind a balancer or
	// a NAT gateway one address is many machines: a burst of 300 instances that
	// attach in the same moment passes.
	maxPerAddress = 512
	// fewest is what a listener has at least, however few descriptors there are.
	fewest = 8
)

// Share returns the limits of a listener which may have a part, from 0 to 1, of
// the descriptors that this process gives to connections.
func Share(part float64) Limits { return share(descriptors(), part) }

func share(descriptors int, part float64) Limits {
	reserve := min(max(descriptors/4, minReserve), maxReserve)
	all := min(max(int(float64(descriptors-reserve)*part), fewest), maxConnections)
	// They give way to whoever is known: so they may have most of it.
	strangers := min(all*3/4, maxStrangers)
	return Limits{Connections: all, Strangers: strangers, PerAddress: min(strangers*3/4, maxPerAddress)}
}

// assumed is the limit of descriptors where the system does not tell it: that of
// most shells.
const assumed = 1024
