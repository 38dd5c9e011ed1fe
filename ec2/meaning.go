package ec2

import (
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// meaning is what one of EC2's error codes says to the one who asked.
type meaning struct {
	class dormouse.Code
	// reach is what a want of capacity or quota is about.
	reach dormouse.Reach
	// unread says that EC2 looked at who calls and not at the request: it proves
	// nothing about an earlier one.
	unread bool
	// hint is what a person can do about it.
	hint string
}

// The hints that several codes share.
const (
	hintQuota   = "end other instances, or ask for a higher limit in the Service Quotas console"
	hintStorage = "delete volumes that nobody needs, or ask for a higher limit of EBS in the Service Quotas console"
	hintHost    = "the launch template asks for a Dedicated Host: free one, allocate another, or use a template without"
	hintReserve = "the launch template asks for reserved capacity: raise the reservation, name another, or use a template without"
	hintTried   = "it is tried again"
)

// meanings has the codes that a launch, and what belongs to it, can be answered
// with. The codes and what they mean are from "Error codes for the Amazon EC2 API"
// (Amazon EC2 Developer Guide), but for those of IAM, STS and the SDK.
// That a type which a zone does not offer, or a subnet without free addresses, is
// a want of capacity, so that the next offering is tried, is Karpenter's
// experience (aws/karpenter-provider-aws, pkg/errors).
//
// A code that is not here has the class that [classOf] gives it by its status and
// its ending.
var meanings = map[string]meaning{
	// Who calls.
	"AuthFailure":                 {class: dormouse.Configuration, unread: true, hint: "EC2 does not accept these credentials: check identifier and secret_identifier (or the profile), and that the keys are active in this region"},
	"AccessDenied":                {class: dormouse.Configuration, unread: true, hint: "to assume a role, check role_arn, external_id and the role's trust policy; else allow the action in the IAM policy of these credentials"},
	"AccessDeniedException":       {class: dormouse.Configuration, unread: true, hint: "allow the action in the IAM policy of these credentials"},
	"AccountDisabled":             {class: dormouse.Configuration, unread: true, hint: "AWS has switched this off for the account: contact AWS Support"},
	"Blocked":                     {class: dormouse.Configuration, unread: true, hint: "the account is blocked: contact AWS Support"},
	"ExpiredToken":                {class: dormouse.Configuration, unread: true, hint: "the session token has expired: renew it, or let the SDK's chain renew it (a role or SSO profile)"},
	"ExpiredTokenException":       {class: dormouse.Configuration, unread: true, hint: "the session token has expired: renew it, or let the SDK's chain renew it (a role or SSO profile)"},
	"IncompleteSignature":         {class: dormouse.Configuration, unread: true},
	"InvalidClientTokenId":        {class: dormouse.Configuration, unread: true, hint: "AWS does not know this access key: check identifier, or the profile"},
	"InvalidSignatureException":   {class: dormouse.Configuration, unread: true},
	"MissingAuthenticationToken":  {class: dormouse.Configuration, unread: true},
	"OptInRequired":               {class: dormouse.Configuration, unread: true, hint: "subscribe this AWS account to what is asked for: EC2 itself, the region, or the image's product on AWS Marketplace"},
	"PendingVerification":         {class: dormouse.Configuration, unread: true, hint: "AWS is still verifying the account in this region: wait for its mail, or ask AWS Support"},
	"RequestExpired":              {class: dormouse.Configuration, unread: true, hint: "this machine's clock is more than 15 minutes off: set it (NTP); or temporary credentials have expired: renew them"},
	"SignatureDoesNotMatch":       {class: dormouse.Configuration, unread: true, hint: "the secret key does not belong to the access key: check secret_identifier"},
	"UnauthorizedOperation":       {class: dormouse.Configuration, unread: true, hint: "allow the action in the IAM policy of these credentials; `aws sts decode-authorization-message` tells which statement refused it"},
	"UnrecognizedClientException": {class: dormouse.Configuration, unread: true},

	"InvalidSecurity.RequestHasExpired": {class: dormouse.Configuration, unread: true, hint: "this machine's clock is more than 5 minutes off: set it (NTP)"},

	// What the account may have at once.
	"AttachmentLimitExceeded":                 {class: dormouse.Quota, reach: dormouse.ReachType, hint: "an instance of this type takes fewer volumes or network interfaces: name another type, or fewer of them"},
	"HostLimitExceeded":                       {class: dormouse.Quota, reach: dormouse.ReachType, hint: hintHost},
	"InstanceLimitExceeded":                   {class: dormouse.Quota, reach: dormouse.ReachQuota, hint: hintQuota},
	"InvalidInterface.IpAddressLimitExceeded": {class: dormouse.Quota, reach: dormouse.ReachType, hint: "a network interface of this type takes fewer addresses: change the launch template, or name another type"},
	"KeyPairLimitExceeded":                    {class: dormouse.Quota, reach: dormouse.ReachWorker, hint: "delete key pairs that nobody needs, or name one that exists"},
	"MaxIOPSLimitExceeded":                    {class: dormouse.Quota, reach: dormouse.ReachWorker, hint: hintStorage},
	"MaxScheduledInstanceCapacityExceeded":    {class: dormouse.Quota},
	"MaxSpotFleetRequestCountExceeded":        {class: dormouse.Quota, reach: dormouse.ReachMarket, hint: hintQuota},
	"MaxSpotInstanceCountExceeded":            {class: dormouse.Quota, reach: dormouse.ReachQuota, hint: "end other spot instances, ask for a higher spot limit in the Service Quotas console, or allow fallback_to_on_demand"},
	"NetworkInterfaceLimitExceeded":           {class: dormouse.Quota, reach: dormouse.ReachWorker, hint: "delete network interfaces that nobody needs, or ask for a higher limit of the VPC in the Service Quotas console"},
	"PrivateIpAddressLimitExceeded":           {class: dormouse.Quota, reach: dormouse.ReachType, hint: "a network interface of this type takes fewer addresses: change the launch template, or name another type"},
	"RequestResourceCountExceeded":            {class: dormouse.Quota, reach: dormouse.ReachBatch, hint: "fewer are asked for at once"},
	"ResourceCountExceeded":                   {class: dormouse.Quota, reach: dormouse.ReachBatch, hint: "fewer are asked for at once"},
	"ResourceLimitExceeded":                   {class: dormouse.Quota, hint: hintQuota},
	"SecurityGroupLimitExceeded":              {class: dormouse.Quota, reach: dormouse.ReachWorker, hint: "delete security groups that nobody needs, name fewer, or ask for a higher limit of the VPC in the Service Quotas console"},
	"SecurityGroupsPerInstanceLimitExceeded":  {class: dormouse.Configuration, hint: "name fewer groups in security_group_ids"},
	"SecurityGroupsPerInterfaceLimitExceeded": {class: dormouse.Configuration, hint: "name fewer groups in security_group_ids"},
	"TagLimitExceeded":                        {class: dormouse.Configuration, hint: "give fewer tags: a resource takes 50, and Dormouse's own count"},
	"VcpuLimitExceeded":                       {class: dormouse.Quota, reach: dormouse.ReachQuota, hint: "end other instances, or ask for a higher vCPU limit in the Service Quotas console"},
	"VolumeIOPSLimit":                         {class: dormouse.Quota, reach: dormouse.ReachWorker, hint: "ask for fewer IOPS in block_device_map"},
	"VolumeLimitExceeded":                     {class: dormouse.Quota, reach: dormouse.ReachWorker, hint: hintStorage},

	// What EC2 has now, or will have nowhere there.
	"EncryptedVolumesNotSupported":                      {class: dormouse.Capacity, reach: dormouse.ReachType, hint: "instances of this type take no encrypted volumes: name another type"},
	"IncompatibleHostRequirements":                      {class: dormouse.Capacity, reach: dormouse.ReachType, hint: hintHost},
	"InstanceCreditSpecification.NotSupported":          {class: dormouse.Capacity, reach: dormouse.ReachType, hint: "this type uses no CPU credits: use a launch template without a credit specification, or name a burstable type"},
	"InsufficientAddressCapacity":                       {class: dormouse.Capacity},
	"InsufficientCapacity":                              {class: dormouse.Capacity},
	"InsufficientCapacityOnHost":                        {class: dormouse.Capacity, hint: hintHost},
	"InsufficientFreeAddressesInSubnet":                 {class: dormouse.Capacity, reach: dormouse.ReachSubnet, hint: "name more subnets in subnet_id, or free addresses: those of stopped instances count"},
	"InsufficientHostCapacity":                          {class: dormouse.Capacity, hint: hintHost},
	"InsufficientInstanceCapacity":                      {class: dormouse.Capacity, hint: "AWS has no such machine free there now: more instance types, subnets or zones to choose from, or fallback_to_on_demand for spot, would help"},
	"InsufficientReservedInstanceCapacity":              {class: dormouse.Capacity, hint: hintReserve},
	"InsufficientReservedInstancesCapacity":             {class: dormouse.Capacity, hint: hintReserve},
	"InsufficientVolumeCapacity":                        {class: dormouse.Capacity, hint: "another volume type in block_device_map, or another zone, would help"},
	"InvalidCapacityReservationState.PendingActivation": {class: dormouse.Capacity, hint: "the Capacity Block begins later"},
	"InvalidLaunchTargets":                              {class: dormouse.Capacity, hint: hintReserve},
	"ReservationCapacityExceeded":                       {class: dormouse.Capacity, hint: hintReserve},
	"SpotMaxPriceTooLow":                                {class: dormouse.Capacity, reach: dormouse.ReachBid, hint: "the spot price is above the bid: raise max_spot_price or price_multiplier, or allow fallback_to_on_demand"},
	"UnavailableHostRequirements":                       {class: dormouse.Capacity, reach: dormouse.ReachType, hint: hintHost},
	"UnfulfillableCapacity":                             {class: dormouse.Capacity, hint: "more instance types or zones to choose from, or fallback_to_on_demand, would help"},
	"Unsupported":                                       {class: dormouse.Capacity, hint: "this zone does not offer that instance type, or not with these options: name another placement, subnet_id or instance_type"},
	"UnsupportedInstanceTypeOnHost":                     {class: dormouse.Capacity, reach: dormouse.ReachType, hint: hintHost},
	"VolumeTypeNotAvailableInZone":                      {class: dormouse.Capacity, hint: "another zone, or another volume type in block_device_map, would help"},
	"ZonesMismatched":                                   {class: dormouse.Capacity, hint: hintHost},

	"AuthFailure.ServiceLinkedRoleCreationNotPermitted": {
		class: dormouse.Capacity, reach: dormouse.ReachMarket, unread: true,
		hint: "the account has no service-linked role for spot instances, and these credentials may not make it: have an administrator run `aws iam create-service-linked-role --aws-service-name spot.amazonaws.com` once, or allow fallback_to_on_demand",
	},

	// What passes.
	"BandwidthLimitExceeded":  {class: dormouse.Throttled},
	"ConcurrentTagAccess":     {class: dormouse.Throttled, hint: hintTried},
	"EC2ThrottledException":   {class: dormouse.Throttled},
	"InternalError":           {class: dormouse.Unanswered},
	"InternalFailure":         {class: dormouse.Unanswered},
	"RequestLimitExceeded":    {class: dormouse.Throttled, hint: "too many EC2 calls in this account and region; it is tried again more slowly"},
	"RequestThrottled":        {class: dormouse.Throttled},
	"RequestTimeout":          {class: dormouse.Unanswered},
	"RequestTimeoutException": {class: dormouse.Unanswered},
	"RetryableError":          {class: dormouse.Unanswered},
	"ServerInternal":          {class: dormouse.Unanswered},
	"ServiceUnavailable":      {class: dormouse.Unanswered},
	"SlowDown":                {class: dormouse.Throttled},
	"Throttling":              {class: dormouse.Throttled},
	"ThrottlingException":     {class: dormouse.Throttled},
	"Unavailable":             {class: dormouse.Unanswered},

	// What EC2 remembers of a token: something was launched with it.
	"IdempotentInstanceTerminated": {class: dormouse.Conflict},
	"IdempotentParameterMismatch":  {class: dormouse.Conflict},

	// Instances that it does not know, or not yet.
	"InvalidInstanceID":           {class: dormouse.NotFound},
	"InvalidInstanceID.Malformed": {class: dormouse.NotFound},
	"InvalidInstanceID.NotFound":  {class: dormouse.NotFound},

	// What a person has to change.
	"BootForVolumeTypeUnsupported":                {class: dormouse.Configuration, hint: "give the root device another VolumeType in block_device_map"},
	"ClientInvalidParameterValue":                 {class: dormouse.Configuration},
	"CustomerKeyHasBeenRevoked":                   {class: dormouse.Configuration, hint: "the KMS key of a volume or snapshot cannot be used: enable it, and allow its use to these credentials"},
	"DefaultSubnetDoesNotExist":                   {class: dormouse.Configuration, hint: "the zone has no default subnet: give subnet_id"},
	"DefaultVpcDoesNotExist":                      {class: dormouse.Configuration, hint: "the region has no default VPC: give subnet_id and security_group_ids in place of security_name"},
	"InvalidAction":                               {class: dormouse.Configuration, hint: "the endpoint does not know this call: is endpoint_url EC2's?"},
	"InvalidAMIID.Malformed":                      {class: dormouse.Configuration, hint: "an AMI's id looks like ami-0123456789abcdef0"},
	"InvalidAMIID.NotFound":                       {class: dormouse.Configuration, hint: "check that ami stands in this region, is shared with this account, and is one of its Allowed AMIs"},
	"InvalidAMIID.Unavailable":                    {class: dormouse.Configuration, hint: "the image was deregistered or is not ready: choose another ami"},
	"InvalidAvailabilityZone":                     {class: dormouse.Configuration, hint: "check placement and region"},
	"InvalidBlockDeviceMapping":                   {class: dormouse.Configuration, hint: "check block_device_map"},
	"InvalidCapacityReservationId.Malformed":      {class: dormouse.Configuration, hint: "check the launch template's capacity reservation"},
	"InvalidCapacityReservationId.NotFound":       {class: dormouse.Configuration, hint: "check the launch template's capacity reservation"},
	"InvalidGroup.NotFound":                       {class: dormouse.Configuration, hint: "check security_name or security_group_ids: the group must be in the VPC that the instance starts in"},
	"InvalidGroupId.Malformed":                    {class: dormouse.Configuration, hint: "a security group's id looks like sg-0123456789abcdef0"},
	"InvalidHostConfiguration":                    {class: dormouse.Configuration, hint: hintHost},
	"InvalidHostId.NotFound":                      {class: dormouse.Configuration, hint: hintHost},
	"InvalidHostState":                            {class: dormouse.Configuration, hint: hintHost},
	"InvalidIamInstanceProfileArn.Malformed":      {class: dormouse.Configuration, hint: "check instance_profile_name, or the launch template's profile"},
	"InvalidInput":                                {class: dormouse.Configuration},
	"InvalidInstanceType":                         {class: dormouse.Configuration, hint: "check instance_type"},
	"InvalidKeyPair.Format":                       {class: dormouse.Configuration, hint: "check keypair_name"},
	"InvalidKeyPair.NotFound":                     {class: dormouse.Configuration, hint: "the key pair has gone: it is made anew at the next start"},
	"InvalidLaunchTemplateId.Malformed":           {class: dormouse.Configuration, hint: "a launch template's id looks like lt-0123456789abcdef0"},
	"InvalidLaunchTemplateId.NotFound":            {class: dormouse.Configuration, hint: "check launch_template and region"},
	"InvalidLaunchTemplateId.VersionNotFound":     {class: dormouse.Configuration, hint: "check the version in launch_template"},
	"InvalidLaunchTemplateName.NotFoundException": {class: dormouse.Configuration, hint: "check launch_template and region; the name's case counts"},
	"InvalidNetworkInterface.InUse":               {class: dormouse.Busy, hint: "the launch template names a network interface that another instance has"},
	"InvalidNetworkInterfaceID.NotFound":          {class: dormouse.Configuration, hint: "check the launch template's network interface and region"},
	"InvalidParameter":                            {class: dormouse.Configuration},
	"InvalidParameterCombination":                 {class: dormouse.Configuration},
	"InvalidParameterDependency":                  {class: dormouse.Configuration},
	"InvalidParameterValue":                       {class: dormouse.Configuration},
	"InvalidPlacementGroup.Unknown":               {class: dormouse.Configuration, hint: "check the launch template's placement group and region"},
	"InvalidRequest":                              {class: dormouse.Configuration},
	"InvalidSecurityGroupID.NotFound":             {class: dormouse.Configuration, hint: "check security_group_ids and region"},
	"InvalidSecurityGroupId.Malformed":            {class: dormouse.Configuration, hint: "a security group's id looks like sg-0123456789abcdef0"},
	"InvalidSnapshot.NotFound":                    {class: dormouse.Configuration, hint: "check the snapshots in block_device_map and region"},
	"InvalidSnapshotID.Malformed":                 {class: dormouse.Configuration, hint: "a snapshot's id looks like snap-0123456789abcdef0"},
	"InvalidSubnet":                               {class: dormouse.Configuration, hint: "check subnet_id and region"},
	"InvalidSubnetID.Malformed":                   {class: dormouse.Configuration, hint: "a subnet's id looks like subnet-0123456789abcdef0"},
	"InvalidSubnetID.NotFound":                    {class: dormouse.Configuration, hint: "check subnet_id and region"},
	"InvalidTagKey.Malformed":                     {class: dormouse.Configuration, hint: "check tags: a key is not empty and does not begin with aws:"},
	"InvalidTenancy":                              {class: dormouse.Configuration},
	"InvalidUserID.Malformed":                     {class: dormouse.Configuration, hint: "check valid_ami_owners"},
	"InvalidZone.NotFound":                        {class: dormouse.Configuration, hint: "check placement and region"},
	"MissingInput":                                {class: dormouse.Configuration, hint: "where a subnet is missing, the default VPC or zone has none: give subnet_id"},
	"MissingParameter":                            {class: dormouse.Configuration},
	"OperationNotPermitted":                       {class: dormouse.Configuration, hint: "where an instance is protected against termination, switch its disableApiTermination off"},
	"TagPolicyViolation":                          {class: dormouse.Configuration, hint: "the organization's tag policy refuses the tags: change tags, or have the policy allow them and Dormouse's own (dormouse:…)"},
	"UnknownParameter":                            {class: dormouse.Configuration, hint: "the endpoint does not know a part of the request: is endpoint_url EC2's?"},
	"UnknownVolumeType":                           {class: dormouse.Configuration, hint: "check VolumeType in block_device_map"},
	"UnsupportedException":                        {class: dormouse.Configuration},
	"UnsupportedHibernationConfiguration":         {class: dormouse.Configuration, hint: "use a launch template without hibernation: an instance is terminated, never hibernated"},
	"UnsupportedHostConfiguration":                {class: dormouse.Configuration, hint: hintHost},
	"UnsupportedOperation":                        {class: dormouse.Configuration, hint: "where the image does not fit the instance type, change one of them"},
	"UnsupportedTenancy":                          {class: dormouse.Configuration},
	"ValidationError":                             {class: dormouse.Configuration},
	"VPCIdNotSpecified":                           {class: dormouse.Configuration, hint: "the region has no default VPC: give subnet_id and security_group_ids in place of security_name"},
	"VPCResourceNotSpecified":                     {class: dormouse.Configuration, hint: "this instance type needs a VPC: give subnet_id and security_group_ids"},
}

// notOnSpot is what a refusal means that speaks of the spot market: what EC2 sells
// on demand it may not sell there, such as some types, or below some price.
var notOnSpot = meaning{
	class: dormouse.Capacity, reach: dormouse.ReachType,
	hint: "EC2 does not sell this on the spot: name another type or option, or allow fallback_to_on_demand",
}

// ofSpot are the words by which EC2 speaks of the spot market, in small letters.
var ofSpot = []string{"spot instance", "spot price", "spot request", "market type", "maxprice", "max price"}

// refusesSpot reports whether what EC2 says of a launch on the spot is about the
// market, and not about the launch.
func refusesSpot(m meaning, message string) bool {
	words := strings.ToLower(message)
	return m.class == dormouse.Configuration && !m.unread &&
		slices.ContainsFunc(ofSpot, func(s string) bool { return strings.Contains(words, s) })
}

// meaningOf is what a code says together with EC2's own words, where those tell
// more than the code does.
func meaningOf(code, message string) meaning {
	m := meanings[code]
	if code != "AuthFailure" {
		return m
	}
	switch words := strings.ToLower(message); {
	case strings.Contains(words, "for images"):
		m.unread, m.hint = false, "the image is not this account's, and not shared with it: check ami"
	case strings.Contains(words, "address"), strings.Contains(words, "eipalloc-"):
		m.unread, m.hint = false, "the address is not this account's: check elastic_ip"
	}
	return m
}
