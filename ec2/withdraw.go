package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Withdraw cancels the spot requests that a refused launch has left open: one of
// them could start an instance later. It returns the ids of the instances that its
// requests have started all the same.
func (a *Account) Withdraw(ctx context.Context, launch string) (started []string, err error) {
	open, started, err := a.requestsOf(ctx, launch)
	if err != nil || len(open) == 0 {
		return started, err
	}
	for some := range slices.Chunk(open, maxFilterValues) {
		_, err := call(ctx, a, action{name: "CancelSpotInstanceRequests", mutating: true}, a.api.cancelSpotInstanceRequests,
			&ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: some})
		if err != nil && !strings.HasSuffix(remoteOf(err), ".NotFound") {
			return started, err
		}
	}
	// One may have been fulfilled before it was cancelled, which leaves its instance.
	_, started, err = a.requestsOf(ctx, launch)
	return started, err
}

// requestsOf returns the spot requests of a launch that are open, and the
// instances of the others.
func (a *Account) requestsOf(ctx context.Context, launch string) (open, started []string, err error) {
	requests, err := a.spotRequests(ctx, types.Filter{Name: new("tag:" + TagLaunch), Values: []string{filterLiteral(launch)}})
	for _, r := range requests {
		switch {
		case r.Tags[TagLaunch] != launch:
		case r.Instance != "":
			started = append(started, r.Instance)
		case r.State == string(types.SpotInstanceStateOpen):
			open = append(open, r.ID)
		}
	}
	return open, started, err
}
