package brokenwire

// Fault is what becomes of a connection behind the bytes that passed.
type Fault int

// The faults; see the package documentation.
const (
	Pass Fault = iota
	Cut
	Truncate
	Deaf
	Stall
)

// String names the fault as tests and their reports do.
func (f Fault) String() string {
	return [...]string{"pass", "cut", "truncate", "deaf", "stall"}[f]
}

// Direction is where data is on its way to.
type Direction int

// The two directions. The zero value is that of a connection being opened.
const (
	Opening Direction = iota
	ToServer
	ToClient
)

// String names the direction as tests and their reports do.
func (d Direction) String() string { return [...]string{"opening", "to server", "to client"}[d] }

// Piece is data on its way. Its boundaries mean nothing: they are where a read
// happened to end.
type Piece struct {
	Conn int // the connection's number, from 1 on in the order of their opening
	To   Direction
	Data []byte // only until the rule returns; empty for Opening
}

// Rule says how many of the piece's bytes pass, and what becomes of the
// connection then. Behind Pass it is asked again about the bytes that are left,
// so it must let some pass. Calls do not overlap. A rule may not call its proxy.
type Rule func(Piece) (passing int, then Fault)

// Always has a fault happen to each connection with its next piece, and to each
// that is opened.
func Always(f Fault) Rule {
	return func(p Piece) (int, Fault) {
		if f == Pass {
			return len(p.Data), Pass
		}
		return 0, f
	}
}

// After has a fault happen to one connection, once: to the first through which
// so many bytes have passed in a direction since the rule came into use. All
// others pass. With 0 it is the first that has something to pass.
func After(to Direction, bytes int64, f Fault) Rule {
	passed, done := map[int]int64{}, false
	return func(p Piece) (int, Fault) {
		size := len(p.Data)
		if done || p.To != to {
			return size, Pass
		}
		if left := bytes - passed[p.Conn]; left <= int64(size) && (left < int64(size) || bytes > 0) {
			done = true
			return int(left), f
		}
		passed[p.Conn] += int64(size)
		return size, Pass
	}
}
