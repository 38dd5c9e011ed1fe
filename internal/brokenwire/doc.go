// Package brokenwire is a TCP proxy for tests that breaks connections: at any
// byte, in either direction, in each way in which networks, machines and
// balancers do.
//
// A [Proxy] stands between clients and one server. Its [Rule] is asked about
// each piece of data on its way, in order, and says how many of its bytes pass
// and what becomes of the connection then:
//
//	client ──▶ proxy ─ rule ─▶ server        ToServer
//	client ◀── rule ─ proxy ◀── server       ToClient
//
//	fault     what the two ends see
//	Pass      nothing: the data arrives
//	Cut       the connection is reset; what was on its way is lost
//	Truncate  the stream ends in good order behind what passed, in both directions
//	Deaf      the connection stays open, takes data, and gives none any more
//	Stall     as Deaf, but what waits goes on when the rule changes
//
// The opening of a connection is a piece without data, so that a rule can refuse
// new connections ([Always]([Cut])), or accept and then not hear them
// ([Always]([Deaf])). [After] breaks one connection, once, behind a number of
// bytes, and with [Proxy.Watch] a test can learn which numbers are worth a try,
// such as the ends of a protocol's messages:
//
//	p, err := brokenwire.Start("tcp", "127.0.0.1:5432")
//	defer p.Close()
//	... connect to p.Addr() ...
//	p.Use(brokenwire.After(brokenwire.ToClient, 100, brokenwire.Truncate))
//	p.Use(brokenwire.Always(brokenwire.Stall)) // the network is away ...
//	p.Use(nil)                                 // ... and back, with all connections
//	p.CutAll()                                 // also those that are idle
//
// What a proxy cannot do is be a machine that has vanished: its kernel goes on
// acknowledging what it receives.
package brokenwire
