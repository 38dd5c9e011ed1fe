package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
)

// Terminate ends instances, in calls of up to [MaxBatch] ids. It returns why,
// by id, for those whose end was not accepted: every id that is not in the map
// is on its way out. The error is the first one that was no fault of an id
// (throttling, no connection, no rights); the ids it kept from being ended are
// in the map too, and may be asked for again. Ending an instance twice is
// harmless.
//
// EC2 refuses a call as a whole for one bad id. The ids that its message names
// are set aside with the reason, [dormouse.NotFound] for an unknown one, and
// the rest is sent again; a message that names none halves the batch.
func (a *Account) Terminate(ctx context.Context, ids []string) (map[string]error, error) {
	failed := map[string]error{}
	fail := func(ids []string, err error) {
		for _, id := range ids {
			failed[id] = err
		}
	}
	var first error
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	// A stack of what is still to be sent: it never holds more than the ids.
	var pending [][]string
	for batch := range slices.Chunk(ids, MaxBatch) {
		pending = append(pending, batch)
	}
	for len(pending) > 0 {
		batch := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		err := a.terminate(ctx, batch)
		if err == nil {
			continue
		}
		bad, rest := namedIn(err, batch)
		switch {
		case !blamesIDs(err):
			if first == nil {
				first = err
			}
			fail(batch, err)
		case len(batch) == 1:
			fail(batch, err)
		case len(bad) > 0:
			fail(bad, err)
			if len(rest) > 0 {
				pending = append(pending, rest)
			}
		default:
			pending = append(pending, batch[:len(batch)/2], batch[len(batch)/2:])
		}
	}
	return failed, first
}

func (a *Account) terminate(ctx context.Context, batch []string) error {
	_, err := call(ctx, a, action{name: "TerminateInstances", mutating: true, instances: len(batch)},
		a.api.terminateInstances, &ec2.TerminateInstancesInput{InstanceIds: batch})
	return err
}

// blamesIDs reports whether the call failed for what it named, so that a part
// of it may succeed.
func blamesIDs(err error) bool {
	e, ok := asError(err)
	if !ok {
		return false
	}
	switch {
	case e.Code == dormouse.NotFound:
		return true
	case e.Code != dormouse.Configuration:
		return false
	case e.Remote == "UnauthorizedOperation": // a policy can allow some instances and not others
		return true
	default:
		return e.Remote != "" && !refusalOf(err).unread
	}
}

// namedIn parts a batch by whether the error's text names the id.
func namedIn(err error, batch []string) (named, rest []string) {
	e, ok := asError(err)
	if !ok {
		return nil, batch
	}
	words := map[string]bool{}
	for word := range strings.FieldsFuncSeq(e.Message, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		words[word] = true
	}
	for _, id := range batch {
		if words[id] {
			named = append(named, id)
		} else {
			rest = append(rest, id)
		}
	}
	return named, rest
}
