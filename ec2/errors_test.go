package ec2

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
)

// TestClasses: what a launch may be told, and what that means for the offering:
// capacity is looked for elsewhere, a quota is the account's.
func TestClasses(t *testing.T) {
	tests := []struct {
		code   string
		status int
		want   dormouse.Code
	}{
		{"InsufficientInstanceCapacity", 500, dormouse.Capacity},
		{"InsufficientCapacity", 500, dormouse.Capacity},
		{"InsufficientHostCapacity", 500, dormouse.Capacity},
		{"InsufficientReservedInstanceCapacity", 500, dormouse.Capacity},
		{"InsufficientVolumeCapacity", 500, dormouse.Capacity},
		{"InsufficientAddressCapacity", 500, dormouse.Capacity},
		{"InsufficientFreeAddressesInSubnet", 400, dormouse.Capacity},
		{"ReservationCapacityExceeded", 400, dormouse.Capacity},
		{"SpotMaxPriceTooLow", 400, dormouse.Capacity},
		{"UnfulfillableCapacity", 400, dormouse.Capacity},
		{"UnavailableHostRequirements", 400, dormouse.Capacity},
		{"VolumeTypeNotAvailableInZone", 400, dormouse.Capacity},
		{"Unsupported", 400, dormouse.Capacity},
		{"InstanceLimitExceeded", 400, dormouse.Quota},
		{"VcpuLimitExceeded", 400, dormouse.Quota},
		{"MaxSpotInstanceCountExceeded", 400, dormouse.Quota},
		{"MaxSpotFleetRequestCountExceeded", 400, dormouse.Quota},
		{"ResourceCountExceeded", 400, dormouse.Quota},
		{"VolumeIOPSLimit", 400, dormouse.Quota},
		{"AddressLimitExceeded", 400, dormouse.Quota}, // by its ending
		{"ServerInternal", 500, dormouse.Unanswered},
		{"VolumeInUse", 400, dormouse.Configuration},
		{"Resource.AlreadyAssociated", 400, dormouse.Configuration},
	}
	for _, tt := range tests {
		if got := classOf(tt.code, tt.status, true); got != tt.want {
			t.Errorf("%s is %q, want %q", tt.code, got, tt.want)
		}
	}
}
