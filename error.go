package dormouse

import (
	"errors"
	"fmt"
	"time"
)

// Code classifies an error for machines; its text is for people. Errors are
// classified once, at the edge where they come in.
type Code string

// The classes. The first group is of requests to Dormouse, the second of what
// EC2 answers.
const (
	Internal     Code = "internal"
	Invalid      Code = "invalid"
	NotFound     Code = "not_found"
	Conflict     Code = "conflict"
	Unauthorized Code = "unauthorized"
	Unavailable  Code = "unavailable" // nobody answers; nothing was carried out

	Capacity      Code = "capacity"      // EC2 has none of this offering now, or asks more than the bid
	Quota         Code = "quota"         // the account's own limit
	Throttled     Code = "throttled"     // too many calls; nothing was carried out
	Busy          Code = "busy"          // in use by something that ends, such as an earlier instance
	Budget        Code = "budget"        // the configured budget admits no more now; nothing was sent
	Configuration Code = "configuration" // will fail again until a person changes something
	Unanswered    Code = "unanswered"    // sent, and it may or may not have been carried out
)

// Error is an error with a class. Message says what failed, on which object,
// and what to do next; Remote is the other side's own code, such as EC2's
// "InvalidAMIID.NotFound".
type Error struct {
	Code    Code
	Message string
	Remote  string
	Err     error
	// Again is when the same may succeed, where that is known.
	Again time.Time
	// Reach is how far a want of Capacity or Quota reaches.
	Reach Reach
}

// Reach is what of EC2's offerings a refusal for want of capacity or quota is
// about: that is passed over for a while, and the others are tried.
type Reach string

// The reaches, from the narrowest.
const (
	ReachOffering Reach = ""       // the type in its market and zone
	ReachSubnet   Reach = "subnet" // the subnet: others of its zone may do
	ReachBatch    Reach = "batch"  // how many were asked for at once
	ReachBid      Reach = "bid"    // the offering at this worker's bid: others may bid more
	ReachType     Reach = "type"   // the type in its market, in every zone, as this worker wants it
	ReachQuota    Reach = "quota"  // the type in its market, and, less surely, those that share its quota there
	ReachMarket   Reach = "market" // the whole market
	ReachWorker   Reach = "worker" // whatever this worker's instances are bought as
)

// Error returns the message and the cause, whichever there are.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Message
	case e.Message == "":
		return e.Err.Error()
	default:
		return e.Message + ": " + e.Err.Error()
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an *Error whose whole text is the format's; %w wraps as in
// fmt.Errorf.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// CodeOf returns the class of the first *Error in err's chain, [Internal] for
// any other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
