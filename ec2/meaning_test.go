package ec2

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

// TestMeanings names the class of each code that EC2's page documents and a launch
// can be answered with, and what it is about: what is no mistake of the
// configuration is passed over, and the next offering is tried.
func TestMeanings(t *testing.T) {
	want := map[string]string{
		"capacity": `InsufficientAddressCapacity InsufficientCapacity InsufficientCapacityOnHost InsufficientHostCapacity
			InsufficientInstanceCapacity InsufficientReservedInstanceCapacity InsufficientReservedInstancesCapacity
			InsufficientVolumeCapacity InvalidCapacityReservationState.PendingActivation InvalidLaunchTargets
			ReservationCapacityExceeded UnfulfillableCapacity Unsupported VolumeTypeNotAvailableInZone ZonesMismatched`,
		"capacity subnet": `InsufficientFreeAddressesInSubnet`,
		"capacity bid":    `SpotMaxPriceTooLow`,
		"capacity type": `EncryptedVolumesNotSupported IncompatibleHostRequirements InstanceCreditSpecification.NotSupported
			UnavailableHostRequirements UnsupportedInstanceTypeOnHost`,
		"capacity market unread": `AuthFailure.ServiceLinkedRoleCreationNotPermitted`,
		"quota":                  `MaxScheduledInstanceCapacityExceeded ResourceLimitExceeded`,
		"quota quota":            `InstanceLimitExceeded MaxSpotInstanceCountExceeded VcpuLimitExceeded`,
		"quota market":           `MaxSpotFleetRequestCountExceeded`,
		"quota batch":            `RequestResourceCountExceeded ResourceCountExceeded`,
		"quota type": `AttachmentLimitExceeded HostLimitExceeded InvalidInterface.IpAddressLimitExceeded
			PrivateIpAddressLimitExceeded`,
		"quota worker": `KeyPairLimitExceeded MaxIOPSLimitExceeded NetworkInterfaceLimitExceeded SecurityGroupLimitExceeded
			VolumeIOPSLimit VolumeLimitExceeded`,
		"throttled": `BandwidthLimitExceeded ConcurrentTagAccess EC2ThrottledException RequestLimitExceeded RequestThrottled
			SlowDown Throttling ThrottlingException`,
		"unanswered": `InternalError InternalFailure RequestTimeout RequestTimeoutException RetryableError ServerInternal
			ServiceUnavailable Unavailable`,
		"conflict":  `IdempotentInstanceTerminated IdempotentParameterMismatch`,
		"not_found": `InvalidInstanceID InvalidInstanceID.Malformed InvalidInstanceID.NotFound`,
		"busy":      `InvalidNetworkInterface.InUse`,
		"configuration unread": `AccessDenied AccessDeniedException AccountDisabled AuthFailure Blocked ExpiredToken
			ExpiredTokenException IncompleteSignature InvalidClientTokenId InvalidSecurity.RequestHasExpired
			InvalidSignatureException MissingAuthenticationToken OptInRequired PendingVerification RequestExpired
			SignatureDoesNotMatch UnauthorizedOperation UnrecognizedClientException`,
		"configuration": `BootForVolumeTypeUnsupported ClientInvalidParameterValue CustomerKeyHasBeenRevoked
			DefaultSubnetDoesNotExist DefaultVpcDoesNotExist InvalidAMIID.Malformed InvalidAMIID.NotFound
			InvalidAMIID.Unavailable InvalidAction InvalidAvailabilityZone InvalidBlockDeviceMapping
			InvalidCapacityReservationId.Malformed InvalidCapacityReservationId.NotFound InvalidGroup.NotFound
			InvalidGroupId.Malformed InvalidHostConfiguration InvalidHostId.NotFound InvalidHostState
			InvalidIamInstanceProfileArn.Malformed InvalidInput InvalidInstanceType InvalidKeyPair.Format
			InvalidKeyPair.NotFound InvalidLaunchTemplateId.Malformed InvalidLaunchTemplateId.NotFound
			InvalidLaunchTemplateId.VersionNotFound InvalidLaunchTemplateName.NotFoundException
			InvalidNetworkInterfaceID.NotFound InvalidParameter InvalidParameterCombination InvalidParameterDependency
			InvalidParameterValue InvalidPlacementGroup.Unknown InvalidRequest InvalidSecurityGroupID.NotFound
			InvalidSecurityGroupId.Malformed InvalidSnapshot.NotFound InvalidSnapshotID.Malformed InvalidSubnet
			InvalidSubnetID.Malformed InvalidSubnetID.NotFound InvalidTagKey.Malformed InvalidTenancy
			InvalidUserID.Malformed InvalidZone.NotFound MissingInput MissingParameter OperationNotPermitted
			SecurityGroupsPerInstanceLimitExceeded SecurityGroupsPerInterfaceLimitExceeded TagLimitExceeded
			TagPolicyViolation UnknownParameter UnknownVolumeType UnsupportedException
			UnsupportedHibernationConfiguration UnsupportedHostConfiguration UnsupportedOperation UnsupportedTenancy
			VPCIdNotSpecified VPCResourceNotSpecified ValidationError`,
	}
	got := map[string][]string{}
	for _, code := range slices.Sorted(maps.Keys(meanings)) {
		m := meanings[code]
		class := strings.Join(strings.Fields(fmt.Sprintf("%s %s %s", m.class, m.reach, map[bool]string{true: "unread"}[m.unread])), " ")
		got[class] = append(got[class], code)
	}
	for class, codes := range want {
		if diff := cmp.Diff(slices.Sorted(slices.Values(strings.Fields(codes))), got[class]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", class, diff)
		}
		delete(got, class)
	}
	if len(got) > 0 {
		t.Errorf("of no class: %v", got)
	}
}

// TestCodesWithoutAMeaning have a class by their status and their ending.
func TestCodesWithoutAMeaning(t *testing.T) {
	for _, tt := range []struct {
		code   string
		status int
		want   dormouse.Code
	}{
		{"AddressLimitExceeded", 400, dormouse.Quota},
		{"VolumeInUse", 400, dormouse.Configuration},
		{"Resource.AlreadyAssociated", 400, dormouse.Configuration},
		{"WeatherTooBad", 500, dormouse.Unanswered},
	} {
		if got := classOf(meanings[tt.code], tt.code, tt.status, true); got != tt.want {
			t.Errorf("%s is %q, want %q", tt.code, got, tt.want)
		}
	}
}

// TestEC2sWords: what a refusal says decides where its code says too little.
func TestEC2sWords(t *testing.T) {
	const (
		unread = true
		spot   = true
	)
	for _, tt := range []struct {
		code, message string
		spot          bool
		class         dormouse.Code
		reach         dormouse.Reach
		unread        bool
		hint          string
	}{
		{"AuthFailure", "AWS was not able to validate the provided access credentials", !spot, dormouse.Configuration, "", unread, "secret_identifier"},
		{"AuthFailure", "Not authorized for images: [ami-0123456789abcdef0]", !spot, dormouse.Configuration, "", !unread, "check ami"},
		{"AuthFailure", "The address '203.0.113.7' does not belong to you.", !spot, dormouse.Configuration, "", !unread, "elastic_ip"},
		{"InvalidParameterValue", "Invalid value '0.0009' for MaxPrice", spot, dormouse.Capacity, dormouse.ReachType, !unread, "fallback_to_on_demand"},
		{"InvalidParameterCombination", "Spot instances are not supported for mac2.metal", spot, dormouse.Capacity, dormouse.ReachType, !unread, "fallback_to_on_demand"},
		{"InvalidParameterCombination", "Spot instances are not supported for mac2.metal", !spot, dormouse.Configuration, "", !unread, ""},
		{"InvalidParameterValue", "Invalid IAM Instance Profile name: spot-builder", spot, dormouse.Configuration, "", !unread, ""},
	} {
		act := action{name: "RunInstances", mutating: true, spot: tt.spot}
		e := answered(tt.code, "RunInstances", &smithy.GenericAPIError{Code: tt.code, Message: tt.message}, act)
		if e.Code != tt.class || e.Reach != tt.reach || !strings.Contains(e.Message, tt.hint) {
			t.Errorf("%s: %s: %s %q: %v", tt.code, tt.message, e.Code, e.Reach, e)
		}
		if got := !Settled(e); got != tt.unread {
			t.Errorf("%s: %s: unread %v, want %v", tt.code, tt.message, got, tt.unread)
		}
	}
}
