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
		"conflict": `IdempotentInstanceTerminated IdempotentParameterMismatch`,
		"not_found": `InvalidAssociationID.NotFound InvalidInstanceID InvalidInstanceID.Malformed InvalidInstanceID.NotFound
			InvalidSpotInstanceRequestID.Malformed InvalidSpotInstanceRequestID.NotFound`,
		"unavailable": `InvalidNextToken InvalidPaginationToken`,
		"busy":        `InvalidIPAddress.InUse InvalidNetworkInterface.InUse Resource.AlreadyAssigned`,
		"configuration unread": `AccessDenied AccessDeniedException AccountDisabled AuthFailure Blocked ExpiredToken
			ExpiredTokenException IncompleteSignature InvalidCharacter InvalidClientTokenId InvalidQueryParameter
			InvalidSecurity.RequestHasExpired InvalidSignatureException MalformedQueryString MissingAction
			MissingAuthenticationToken NoSuchVersion OptInRequired PendingVerification RequestExpired
			SignatureDoesNotMatch UnauthorizedOperation UnrecognizedClientException`,
		"configuration": `BootForVolumeTypeUnsupported ClientInvalidParameterValue CustomerKeyHasBeenRevoked
			DefaultSubnetDoesNotExist DefaultVpcDoesNotExist FilterLimitExceeded Gateway.NotAttached
			InvalidAMIID.Malformed InvalidAMIID.NotFound InvalidAMIID.Unavailable InvalidAction
			InvalidAddress.Malformed InvalidAddress.NotFound InvalidAllocationID.NotFound InvalidAvailabilityZone
			InvalidBlockDeviceMapping InvalidCapacityReservationId.Malformed InvalidCapacityReservationId.NotFound
			InvalidCpuCredits InvalidCpuCredits.Malformed InvalidFilter InvalidGroup.NotFound InvalidGroup.Reserved
			InvalidGroupId.Malformed InvalidHostConfiguration InvalidHostID.Malformed InvalidHostID.NotFound
			InvalidHostId InvalidHostId.Malformed InvalidHostId.NotFound InvalidHostState
			InvalidIamInstanceProfileArn.Malformed InvalidInput InvalidInstanceType InvalidKernelId.Malformed
			InvalidKeyPair.Format InvalidKeyPair.NotFound InvalidLaunchTemplateId.Malformed
			InvalidLaunchTemplateId.NotFound InvalidLaunchTemplateId.VersionNotFound
			InvalidLaunchTemplateName.MalformedException InvalidLaunchTemplateName.NotFoundException InvalidManifest
			InvalidNetworkInterface.NotFound InvalidNetworkInterfaceID.NotFound InvalidNetworkInterfaceId.Malformed
			InvalidParameter InvalidParameterCombination InvalidParameterDependency InvalidParameterValue
			InvalidPlacementGroup.Unknown InvalidPlacementGroupId.Malformed InvalidProductInfo
			InvalidRamDiskId.Malformed InvalidRegion InvalidRequest InvalidSecurityGroupID.NotFound
			InvalidSecurityGroupId.Malformed InvalidSnapshot.NotFound InvalidSnapshotID.Malformed InvalidSubnet
			InvalidSubnetID.Malformed InvalidSubnetID.NotFound InvalidSubnetId.NotFound InvalidTagKey.Malformed
			InvalidTenancy InvalidUserID.Malformed InvalidVolume.NotFound InvalidVolume.ZoneMismatch
			InvalidVolumeID.Malformed InvalidVolumeID.ZoneMismatch InvalidZone.NotFound MissingInput MissingParameter
			NonEBSInstance OperationNotPermitted SecurityGroupsPerInstanceLimitExceeded
			SecurityGroupsPerInterfaceLimitExceeded TagLimitExceeded TagPolicyViolation UnknownParameter
			UnknownVolumeType UnsupportedException UnsupportedHibernationConfiguration UnsupportedHostConfiguration
			UnsupportedOperation UnsupportedTenancy VPCIdNotSpecified VPCResourceNotSpecified ValidationError`,
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
		{"AuthFailure", "Not authorized for image:ami-0123456789abcdef0", !spot, dormouse.Configuration, "", !unread, "check ami"},
		{"AuthFailure", "The address '203.0.113.7' does not belong to you.", !spot, dormouse.Configuration, "", !unread, "elastic_ip"},
		{"AuthFailure", "The snapshot 'snap-1' is not yours", !spot, dormouse.Configuration, "", !unread, "block_device_map"},
		{"AuthFailure", "The volume 'vol-1' does not belong to you.", !spot, dormouse.Configuration, "", !unread, "another account's"},
		{"OptInRequired", "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe.", !spot, dormouse.Configuration, "", unread, "subscribe"},
		{"OptInRequired", "In order to use this AWS Marketplace product you need to accept terms and subscribe.", !spot, dormouse.Configuration, "", !unread, "accept its terms"},
		{"RequestExpired", "Request has expired.", !spot, dormouse.Configuration, "", unread, "clock"},
		{"InvalidParameter", "Security group sg-1 and subnet subnet-1 belong to different networks.", !spot, dormouse.Configuration, "", !unread, "one VPC"},
		{"InvalidParameterValue", "You cannot specify tags for network interfaces if there are no network interfaces being created by the request.", !spot, dormouse.Configuration, "", !unread, "the next launch goes without"},
		{"UnauthorizedOperation", "You are not authorized to perform this operation. User: arn:aws:iam::1:user/ci is not authorized to perform: ec2:CreateTags on resource: arn:aws:ec2:us-east-1:1:network-interface/* because no identity-based policy allows the ec2:CreateTags action. Encoded authorization failure message: abc", !spot, dormouse.Configuration, "", unread, "ec2:CreateTags on"},
		{"UnauthorizedOperation", "You are not authorized to perform this operation. Encoded authorization failure message: abc", !spot, dormouse.Configuration, "", unread, "allow the action"},
		{"InvalidParameterCombination", "Network interfaces and an instance-level subnet ID may not be specified on the same request", !spot, dormouse.Configuration, "", !unread, "the launch template has a network interface"},
		{"InvalidParameterCombination", "The specified instance type is not eligible for Free Tier.", !spot, dormouse.Capacity, dormouse.ReachType, !unread, "plan"},
		{"InvalidParameterValue", "Value (ci) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", !spot, dormouse.Configuration, "", !unread, "instance_profile_name"},
		{"InvalidParameterValue", "Invalid availability zone: [us-east-1z]", !spot, dormouse.Configuration, "", !unread, "placement"},
		{"InvalidParameterValue", "The architecture 'x86_64' of the specified instance type does not match the architecture 'arm64' of the specified AMI.", !spot, dormouse.Configuration, "", !unread, "does not fit"},
		{"InvalidParameterValue", "'cost center' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255})", !spot, dormouse.Configuration, "", !unread, "no spaces"},
		{"UnsupportedOperation", "The instance configuration for this AWS Marketplace product is not supported.", !spot, dormouse.Capacity, dormouse.ReachType, !unread, "another type"},
		{"UnsupportedOperation", "EBS-backed only", !spot, dormouse.Configuration, "", !unread, ""},
		{"Unavailable", "The server is overloaded and can't handle the request.", !spot, dormouse.Unanswered, "", unread, ""},
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

// TestHintsAreNotEC2sWords: what is added to a refusal does not change what it means.
func TestHintsAreNotEC2sWords(t *testing.T) {
	t.Parallel()
	for code, m := range meanings {
		if got := meaningOf(code, m.hint); got != m {
			t.Errorf("%s: with its hint it means %+v", code, got)
		}
	}
	for _, w := range wordings {
		words := w.words[0] + "; " + w.is.hint
		if got := meaningOf(w.code, words); got != w.is {
			t.Errorf("%s: %q means %+v", w.code, words, got)
		}
		if got := meaningOf(w.code, strings.ToUpper(w.words[0])); got != w.is {
			t.Errorf("%s: the case of %q counts", w.code, w.words[0])
		}
	}
}

// TestUnprefixed: EC2 puts whose fault it is before a code here and there.
func TestUnprefixed(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"Client.InvalidAMIID.NotFound": "InvalidAMIID.NotFound", "Server.Unavailable": "Unavailable",
		"ClientInvalidParameterValue": "ClientInvalidParameterValue", "InvalidKeyPair.NotFound": "InvalidKeyPair.NotFound",
	} {
		if got := remoteCode(&smithy.GenericAPIError{Code: code}); got != want {
			t.Errorf("%s is %s", code, got)
		}
	}
}
