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
	hintCredits = "check the launch template's credit specification"
	hintCard    = "check the launch template's network interface and region"
	hintTags    = "the launch template names a network interface that exists, which a launch does not tag: the next launch goes without these tags; where the template has such tags itself, take them out of it"
	hintImage   = "the image is not this account's, and not shared with it: check ami"
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
	"InvalidCharacter":            {class: dormouse.Configuration, unread: true},
	"InvalidQueryParameter":       {class: dormouse.Configuration, unread: true},
	"MalformedQueryString":        {class: dormouse.Configuration, unread: true},
	"MissingAction":               {class: dormouse.Configuration, unread: true},
	"NoSuchVersion":               {class: dormouse.Configuration, unread: true},
	"MissingAuthenticationToken":  {class: dormouse.Configuration, unread: true},
	"OptInRequired":               {class: dormouse.Configuration, unread: true, hint: "subscribe this AWS account to EC2, or enable the region in its settings"},
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

	// Instances that it does not know, or not yet, and what has been let go of.
	"InvalidInstanceID":                      {class: dormouse.NotFound},
	"InvalidInstanceID.Malformed":            {class: dormouse.NotFound},
	"InvalidInstanceID.NotFound":             {class: dormouse.NotFound},
	"InvalidAssociationID.NotFound":          {class: dormouse.NotFound},
	"InvalidSpotInstanceRequestID.Malformed": {class: dormouse.NotFound},
	"InvalidSpotInstanceRequestID.NotFound":  {class: dormouse.NotFound},

	// A listing that has to begin anew.
	"InvalidNextToken":       {class: dormouse.Unavailable, hint: hintTried},
	"InvalidPaginationToken": {class: dormouse.Unavailable, hint: hintTried},

	// What another instance has, for as long as it lives.
	"InvalidIPAddress.InUse":        {class: dormouse.Busy, hint: "the launch template names a private address that another instance has"},
	"InvalidNetworkInterface.InUse": {class: dormouse.Busy, hint: "the launch template names a network interface that another instance has"},
	"Resource.AlreadyAssigned":      {class: dormouse.Busy, hint: "the launch template names a private address that another instance has"},

	// What a person has to change.
	"BootForVolumeTypeUnsupported":                 {class: dormouse.Configuration, hint: "give the root device another VolumeType in block_device_map"},
	"ClientInvalidParameterValue":                  {class: dormouse.Configuration},
	"CustomerKeyHasBeenRevoked":                    {class: dormouse.Configuration, hint: "the KMS key of a volume or snapshot cannot be used: enable it, and allow its use to these credentials"},
	"DefaultSubnetDoesNotExist":                    {class: dormouse.Configuration, hint: "the zone has no default subnet: give subnet_id"},
	"DefaultVpcDoesNotExist":                       {class: dormouse.Configuration, hint: "the region has no default VPC: give subnet_id and security_group_ids in place of security_name"},
	"FilterLimitExceeded":                          {class: dormouse.Configuration, hint: "give fewer filters, or fewer values, in ami_filters"},
	"Gateway.NotAttached":                          {class: dormouse.Configuration, hint: "the VPC has no internet gateway, which an elastic address needs: attach one, or leave elastic_ip out"},
	"InvalidAMIID.Malformed":                       {class: dormouse.Configuration, hint: "an AMI's id looks like ami-0123456789abcdef0"},
	"InvalidAMIID.NotFound":                        {class: dormouse.Configuration, hint: "check that ami stands in this region, is shared with this account, and is one of its Allowed AMIs"},
	"InvalidAMIID.Unavailable":                     {class: dormouse.Configuration, hint: "the image was deregistered or is not ready: choose another ami"},
	"InvalidAction":                                {class: dormouse.Configuration, hint: "the endpoint does not know this call: is endpoint_url EC2's?"},
	"InvalidAddress.Malformed":                     {class: dormouse.Configuration, hint: "check elastic_ip"},
	"InvalidAddress.NotFound":                      {class: dormouse.Configuration, hint: "check elastic_ip and region"},
	"InvalidAllocationID.NotFound":                 {class: dormouse.Configuration, hint: "the address of elastic_ip has been released: name another"},
	"InvalidAvailabilityZone":                      {class: dormouse.Configuration, hint: "check placement and region"},
	"InvalidBlockDeviceMapping":                    {class: dormouse.Configuration, hint: "check block_device_map"},
	"InvalidCapacityReservationId.Malformed":       {class: dormouse.Configuration, hint: "check the launch template's capacity reservation"},
	"InvalidCapacityReservationId.NotFound":        {class: dormouse.Configuration, hint: "check the launch template's capacity reservation"},
	"InvalidCpuCredits":                            {class: dormouse.Configuration, hint: hintCredits},
	"InvalidCpuCredits.Malformed":                  {class: dormouse.Configuration, hint: hintCredits},
	"InvalidFilter":                                {class: dormouse.Configuration, hint: "check ami_filters: they are those of DescribeImages"},
	"InvalidGroup.NotFound":                        {class: dormouse.Configuration, hint: "check security_name or security_group_ids: the group must be in the VPC that the instance starts in"},
	"InvalidGroup.Reserved":                        {class: dormouse.Configuration, hint: "the name 'default' is EC2's own: leave security_name out, or name another group"},
	"InvalidGroupId.Malformed":                     {class: dormouse.Configuration, hint: "a security group's id looks like sg-0123456789abcdef0"},
	"InvalidHostConfiguration":                     {class: dormouse.Configuration, hint: hintHost},
	"InvalidHostID.Malformed":                      {class: dormouse.Configuration, hint: hintHost},
	"InvalidHostID.NotFound":                       {class: dormouse.Configuration, hint: hintHost},
	"InvalidHostId":                                {class: dormouse.Configuration, hint: hintHost},
	"InvalidHostId.Malformed":                      {class: dormouse.Configuration, hint: hintHost},
	"InvalidHostId.NotFound":                       {class: dormouse.Configuration, hint: hintHost},
	"InvalidHostState":                             {class: dormouse.Configuration, hint: hintHost},
	"InvalidIamInstanceProfileArn.Malformed":       {class: dormouse.Configuration, hint: "check instance_profile_name, or the launch template's profile"},
	"InvalidInput":                                 {class: dormouse.Configuration},
	"InvalidInstanceType":                          {class: dormouse.Configuration, hint: "check instance_type"},
	"InvalidKernelId.Malformed":                    {class: dormouse.Configuration, hint: "check the launch template's kernel"},
	"InvalidKeyPair.Format":                        {class: dormouse.Configuration, hint: "check keypair_name"},
	"InvalidKeyPair.NotFound":                      {class: dormouse.Configuration, hint: "the key pair has gone: it is made anew at the next start"},
	"InvalidLaunchTemplateId.Malformed":            {class: dormouse.Configuration, hint: "a launch template's id looks like lt-0123456789abcdef0"},
	"InvalidLaunchTemplateId.NotFound":             {class: dormouse.Configuration, hint: "check launch_template and region"},
	"InvalidLaunchTemplateId.VersionNotFound":      {class: dormouse.Configuration, hint: "check the version in launch_template"},
	"InvalidLaunchTemplateName.MalformedException": {class: dormouse.Configuration, hint: "check launch_template"},
	"InvalidLaunchTemplateName.NotFoundException":  {class: dormouse.Configuration, hint: "check launch_template and region; the name's case counts"},
	"InvalidManifest":                              {class: dormouse.Configuration, hint: "the image's manifest cannot be read: choose another ami"},
	"InvalidNetworkInterface.NotFound":             {class: dormouse.Configuration, hint: hintCard},
	"InvalidNetworkInterfaceID.NotFound":           {class: dormouse.Configuration, hint: hintCard},
	"InvalidNetworkInterfaceId.Malformed":          {class: dormouse.Configuration, hint: hintCard},
	"InvalidParameter":                             {class: dormouse.Configuration},
	"InvalidParameterCombination":                  {class: dormouse.Configuration},
	"InvalidParameterDependency":                   {class: dormouse.Configuration},
	"InvalidParameterValue":                        {class: dormouse.Configuration},
	"InvalidPlacementGroup.Unknown":                {class: dormouse.Configuration, hint: "check the launch template's placement group and region"},
	"InvalidPlacementGroupId.Malformed":            {class: dormouse.Configuration, hint: "check the launch template's placement group"},
	"InvalidProductInfo":                           {class: dormouse.Configuration, hint: "the product code of the image, which is AWS Marketplace's, is not valid: choose another ami"},
	"InvalidRamDiskId.Malformed":                   {class: dormouse.Configuration, hint: "check the launch template's RAM disk"},
	"InvalidRegion":                                {class: dormouse.Configuration, hint: "check region"},
	"InvalidRequest":                               {class: dormouse.Configuration},
	"InvalidSecurityGroupID.NotFound":              {class: dormouse.Configuration, hint: "check security_group_ids and region"},
	"InvalidSecurityGroupId.Malformed":             {class: dormouse.Configuration, hint: "a security group's id looks like sg-0123456789abcdef0"},
	"InvalidSnapshot.NotFound":                     {class: dormouse.Configuration, hint: "check the snapshots in block_device_map and region"},
	"InvalidSnapshotID.Malformed":                  {class: dormouse.Configuration, hint: "a snapshot's id looks like snap-0123456789abcdef0"},
	"InvalidSubnet":                                {class: dormouse.Configuration, hint: "check subnet_id and region"},
	"InvalidSubnetID.Malformed":                    {class: dormouse.Configuration, hint: "a subnet's id looks like subnet-0123456789abcdef0"},
	"InvalidSubnetID.NotFound":                     {class: dormouse.Configuration, hint: "check subnet_id and region"},
	"InvalidSubnetId.NotFound":                     {class: dormouse.Configuration, hint: "check subnet_id and region"},
	"InvalidTagKey.Malformed":                      {class: dormouse.Configuration, hint: "check tags: a key is not empty and does not begin with aws:"},
	"InvalidTenancy":                               {class: dormouse.Configuration},
	"InvalidUserID.Malformed":                      {class: dormouse.Configuration, hint: "check valid_ami_owners"},
	"InvalidVolume.NotFound":                       {class: dormouse.Configuration, hint: "check volumes and region"},
	"InvalidVolume.ZoneMismatch":                   {class: dormouse.Configuration, hint: "the volume is in another zone than the instance: give subnet_id or placement of the volume's zone"},
	"InvalidVolumeID.Malformed":                    {class: dormouse.Configuration, hint: "a volume's id looks like vol-0123456789abcdef0"},
	"InvalidVolumeID.ZoneMismatch":                 {class: dormouse.Configuration, hint: "the volume is in another zone than the instance: give subnet_id or placement of the volume's zone"},
	"InvalidZone.NotFound":                         {class: dormouse.Configuration, hint: "check placement and region"},
	"MissingInput":                                 {class: dormouse.Configuration, hint: "where a subnet is missing, the default VPC or zone has none: give subnet_id"},
	"MissingParameter":                             {class: dormouse.Configuration},
	"NonEBSInstance":                               {class: dormouse.Configuration, hint: "instances of this type take no volumes: name another type, or leave volumes out"},
	"OperationNotPermitted":                        {class: dormouse.Configuration, hint: "where an instance is protected against termination, switch its disableApiTermination off"},
	"TagPolicyViolation":                           {class: dormouse.Configuration, hint: "the organization's tag policy refuses the tags: change tags, or have the policy allow them and Dormouse's own (dormouse:…)"},
	"UnknownParameter":                             {class: dormouse.Configuration, hint: "the endpoint does not know a part of the request: is endpoint_url EC2's?"},
	"UnknownVolumeType":                            {class: dormouse.Configuration, hint: "check VolumeType in block_device_map"},
	"UnsupportedException":                         {class: dormouse.Configuration},
	"UnsupportedHibernationConfiguration":          {class: dormouse.Configuration, hint: "use a launch template without hibernation: an instance is terminated, never hibernated"},
	"UnsupportedHostConfiguration":                 {class: dormouse.Configuration, hint: hintHost},
	"UnsupportedOperation":                         {class: dormouse.Configuration, hint: "where the image does not fit the instance type, change one of them"},
	"UnsupportedTenancy":                           {class: dormouse.Configuration},
	"VPCIdNotSpecified":                            {class: dormouse.Configuration, hint: "the region has no default VPC: give subnet_id and security_group_ids in place of security_name"},
	"VPCResourceNotSpecified":                      {class: dormouse.Configuration, hint: "this instance type needs a VPC: give subnet_id and security_group_ids"},
	"ValidationError":                              {class: dormouse.Configuration},
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

// wordings tell apart what a code can be about, by words of EC2's in small letters:
// the first that fits counts. The code alone says too little. What they say is read,
// and is no question of the credentials.
var wordings = []struct {
	code  string
	words []string // one of them
	is    meaning
}{
	{"AuthFailure", []string{"for image", "ami-"}, meaning{class: dormouse.Configuration, hint: hintImage}},
	{"AuthFailure", []string{"snapshot", "snap-"}, meaning{class: dormouse.Configuration, hint: "the snapshot is not this account's, and not shared with it: check block_device_map"}},
	{"AuthFailure", []string{"address", "eipalloc-"}, meaning{class: dormouse.Configuration, hint: "the address is not this account's: check elastic_ip"}},
	{"AuthFailure", []string{"does not belong to you", "not authorized to use"}, meaning{class: dormouse.Configuration, hint: "what it names is another account's: check the configuration's ids"}},
	{"OptInRequired", []string{"marketplace"}, meaning{class: dormouse.Configuration, hint: "the image is a product of AWS Marketplace: accept its terms there with this account, or choose another ami"}},

	{"UnauthorizedOperation", []string{"network-interface"}, meaning{class: dormouse.Configuration, unread: true, hint: "a launch makes a network interface, and tags it: allow ec2:RunInstances and ec2:CreateTags on arn:aws:ec2:*:*:network-interface/* in the IAM policy of these credentials; `aws sts decode-authorization-message` tells which statement refused it"}},

	{"InvalidParameter", []string{"different network", "different vpc"}, meaning{class: dormouse.Configuration, hint: "security_group_ids and subnet_id must be of one VPC"}},
	{"InvalidParameterCombination", []string{"network interfaces and an instance-level"}, meaning{class: dormouse.Configuration, hint: "the launch template has a network interface, which names subnet and groups itself: leave subnet_id and the groups out, or take it out of the template and give associate_public_ip_address"}},
	{"InvalidParameterCombination", []string{"free tier"}, meaning{class: dormouse.Capacity, reach: dormouse.ReachType, hint: "the account's plan allows only some types: name one that it does, or upgrade the plan"}},
	{"InvalidParameterValue", []string{"instance profile", "iaminstanceprofile"}, meaning{class: dormouse.Configuration, hint: "check instance_profile_name"}},
	{"InvalidParameterValue", []string{"availability zone"}, meaning{class: dormouse.Configuration, hint: "check placement and region"}},
	{"InvalidParameterValue", []string{"architecture"}, meaning{class: dormouse.Configuration, hint: "the image does not fit the instance type: change one of them"}},
	{"InvalidParameterValue", []string{"valid tag key"}, meaning{class: dormouse.Configuration, hint: "the launch template, or the account's defaults, show tags in the metadata, where keys have no spaces and no slashes: change tags, or switch that off"}},
	{"InvalidParameterValue", []string{"attachment point", "already in use"}, meaning{class: dormouse.Configuration, hint: "another volume has this device: name another in volumes"}},
	{"InvalidParameterValue", []string{"tags for network interfaces"}, meaning{class: dormouse.Configuration, hint: hintTags}},
	{"InvalidParameterValue", []string{"parameter store"}, meaning{class: dormouse.Configuration, hint: "check ami_ssm_parameter and region, and allow ssm:GetParameters"}},
	{"UnsupportedOperation", []string{"marketplace"}, meaning{class: dormouse.Capacity, reach: dormouse.ReachType, hint: "the image is a product of AWS Marketplace that is not sold for this type: name another type, or another ami"}},
}

// meaningOf is what a code says together with EC2's own words, where those tell
// more than the code does.
func meaningOf(code, message string) meaning {
	words := strings.ToLower(message)
	for _, w := range wordings {
		if w.code == code && slices.ContainsFunc(w.words, func(s string) bool { return strings.Contains(words, s) }) {
			return w.is
		}
	}
	return meanings[code]
}
