package ec2

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestStateReasons: why an instance ended as it was launched, and what to do.
func TestStateReasons(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ code, message, begins, hint string }{
		{"Client.InternalError", "Client.InternalError: Client error on launch", "Client.InternalError: Client error on launch; ", "AWSServiceRoleForEC2Spot"},
		{"Client.InternalError", "Client.InternalError: Client error on launch", "Client.", "kms:CreateGrant"},
		{"Server.InternalError", "Server.InternalError: Internal error on launch", "Server.InternalError: Internal error on launch; ", "EC2's own"},
		{"Client.VolumeLimitExceeded", "Client.VolumeLimitExceeded: Volume limit exceeded", "Client.VolumeLimitExceeded: ", "higher limit of EBS"},
		{"Client.InvalidSnapshot.NotFound", "Client.InvalidSnapshot.NotFound: x", "Client.InvalidSnapshot.NotFound: x; ", "block_device_map"},
		{"Server.InsufficientInstanceCapacity", "", "Server.InsufficientInstanceCapacity; ", "fallback_to_on_demand"},
	} {
		got := stateReason(&types.StateReason{Code: &tt.code, Message: &tt.message})
		if !strings.HasPrefix(got, tt.begins) || !strings.Contains(got, tt.hint) {
			t.Errorf("%s: %s", tt.code, got)
		}
	}
	for code, want := range map[string]string{
		"Client.UserInitiatedShutdown":     "Client.UserInitiatedShutdown: User initiated shutdown",
		"Client.InstanceInitiatedShutdown": "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
		"Server.SpotInstanceTermination":   "Server.SpotInstanceTermination: Spot instance termination",
	} {
		if got := stateReason(&types.StateReason{Code: &code, Message: &want}); got != want {
			t.Errorf("%s: %q", code, got)
		}
	}
	if got := stateReason(nil); got != "" {
		t.Error(got)
	}
}

// TestTransitionTimes: when an instance's end began, in EC2's words.
func TestTransitionTimes(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]time.Time{
		"User initiated (2026-11-28 21:03:04 GMT)": time.Date(2026, 11, 28, 21, 3, 4, 0, time.UTC),
		"User initiated":                              {},
		"User initiated (yesterday)":                  {},
		"Server.SpotInstanceTermination: no capacity": {},
		"": {},
	} {
		if got := transitionTime(reason); !got.Equal(want) {
			t.Errorf("%q: %v", reason, got)
		}
	}
}
