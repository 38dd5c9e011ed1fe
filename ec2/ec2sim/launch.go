package ec2sim

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

type runInstancesInput struct {
	ImageID           string               `query:"ImageId"`
	InstanceType      string               `query:"InstanceType"`
	MinCount          int                  `query:"MinCount,required"`
	MaxCount          int                  `query:"MaxCount,required"`
	ClientToken       string               `query:"ClientToken"`
	KeyName           string               `query:"KeyName"`
	Groups            []string             `query:"SecurityGroup"`
	GroupIDs          []string             `query:"SecurityGroupId"`
	SubnetID          string               `query:"SubnetId"`
	Placement         placementInput       `query:"Placement"`
	NetworkInterfaces []interfaceInput     `query:"NetworkInterface"`
	UserData          blob                 `query:"UserData"`
	TagSpecifications []tagSpecification   `query:"TagSpecification"`
	Behaviour         string               `query:"InstanceInitiatedShutdownBehavior"`
	Market            *marketInput         `query:"InstanceMarketOptions"`
	Profile           *profileInput        `query:"IamInstanceProfile"`
	BlockDevices      []blockDeviceInput   `query:"BlockDeviceMapping"`
	MetadataOptions   metadataOptionsInput `query:"MetadataOptions"`
	Monitoring        struct {
		Enabled bool `query:"Enabled"`
	} `query:"Monitoring"`
	Protected   bool `query:"DisableApiTermination"`
	Hibernation struct {
		Configured bool `query:"Configured"`
	} `query:"HibernationOptions"`
	_ ignored     `query:"EbsOptimized CreditSpecification CpuOptions MaintenanceOptions NetworkPerformanceOptions AdditionalInfo PrivateDnsNameOptions DisableApiStop"`
	_ unsimulated `query:"CapacityReservationSpecification ElasticGpuSpecification ElasticInferenceAccelerator EnablePrimaryIpv6 EnclaveOptions Ipv6AddressCount Ipv6Address KernelId LicenseSpecification Operator PrivateIpAddress RamdiskId SecondaryInterface"`
}

type placementInput struct {
	Zone    string      `query:"AvailabilityZone"`
	Tenancy string      `query:"Tenancy"`
	_       unsimulated `query:"Affinity AvailabilityZoneId GroupId GroupName HostId HostResourceGroupArn PartitionNumber SpreadDomain"`
}

type interfaceInput struct {
	SubnetID    string      `query:"SubnetId"`
	GroupIDs    []string    `query:"SecurityGroupId"`
	DeviceIndex int         `query:"DeviceIndex"`
	PublicIP    *bool       `query:"AssociatePublicIpAddress"`
	_           ignored     `query:"DeleteOnTermination Description InterfaceType NetworkCardIndex"`
	_           unsimulated `query:"NetworkInterfaceId PrivateIpAddress PrivateIpAddresses SecondaryPrivateIpAddressCount Ipv6AddressCount Ipv6Addresses"`
}

type marketInput struct {
	Type string `query:"MarketType"`
	Spot struct {
		MaxPrice     string      `query:"MaxPrice"`
		Type         string      `query:"SpotInstanceType"`
		Interruption string      `query:"InstanceInterruptionBehavior"`
		_            unsimulated `query:"BlockDurationMinutes ValidUntil"`
	} `query:"SpotOptions"`
}

type profileInput struct {
	ARN  string `query:"Arn"`
	Name string `query:"Name"`
}

type metadataOptionsInput struct {
	Endpoint string `query:"HttpEndpoint"`
	Tokens   string `query:"HttpTokens"`
	HopLimit *int   `query:"HttpPutResponseHopLimit"`
	IPv6     string `query:"HttpProtocolIpv6"`
	Tags     string `query:"InstanceMetadataTags"`
}

const (
	// maxUserData is EC2's limit, "16 KB, in raw form, before it is
	// base64-encoded".
	maxUserData = 16 << 10
	// maxClientToken is EC2's limit, in characters.
	maxClientToken = 64
	// maxLaunch is how many instances one call may ask for: EC2's bucket of
	// RunInstances holds 1,000.
	maxLaunch = 1000
	// minSpotPrice is the highest bid that EC2 refuses out of hand, in US
	// dollars an hour.
	minSpotPrice = 0.001
	// defaultInstanceType is what RunInstances takes when it is told none.
	defaultInstanceType = "m1.small"
)

// runInstances launches. Nothing is made before everything was found right.
func (c *call) runInstances(in runInstancesInput) (*runInstancesOutput, error) {
	key := launchKey{token: in.ClientToken}
	if len(in.ClientToken) > maxClientToken {
		return nil, refuse("InvalidClientToken", "The client token is longer than %d characters", maxClientToken)
	}
	where, err := c.place(&in)
	if err != nil {
		return nil, err
	}
	key.zone = where.named
	if earlier := c.launches[key]; earlier != nil && key.token != "" {
		if earlier.fingerprint != c.fingerprint {
			return nil, refuse("IdempotentParameterMismatch",
				"Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
		}
		return c.repeat(earlier)
	}
	template, err := c.plan(in, where.zone)
	if err != nil {
		return nil, err
	}
	count, err := c.admit(in.MinCount, in.MaxCount)
	if err != nil {
		return nil, err
	}
	template.unreachable = where.unreachable
	if err := c.admitVCPUs(template.kind, template.market, count); err != nil {
		return nil, err
	}
	tags := tagsFor(in.TagSpecifications, "instance")
	if count, err = c.fulfil(&template, where, tags, in.MinCount, count); err != nil {
		c.leaveOpen(in, template, where, tags)
		return nil, err
	}
	if err := c.commit(); err != nil {
		return nil, err
	}

	l := &launch{key: key, fingerprint: c.fingerprint, reservation: newID("r"), living: count}
	for i := range count {
		inst := c.build(template, l, i)
		c.tag(inst.id, tags)
		c.tag(inst.interfaceID, tagsFor(in.TagSpecifications, "network-interface"))
		if inst.market == dormouse.Spot {
			c.boughtNow(inst, in)
		}
		c.furnish(inst, tagsFor(in.TagSpecifications, "volume"))
		l.instances = append(l.instances, inst)
		c.begin(inst)
	}
	if key.token != "" {
		c.launches[key] = l
	}
	return c.describeLaunch(l), nil
}

// repeat answers a launch whose token is known: with the same instances, but for
// a token of which an instance has been terminated. Since January 2025 EC2 refuses
// that (boto/boto3#4406); the scenario may have it answer as it did before, and as
// its documentation says.
func (c *call) repeat(l *launch) (*runInstancesOutput, error) {
	i := slices.IndexFunc(l.instances, func(inst *instance) bool { return inst.state.Ended() })
	if i < 0 {
		return c.describeLaunch(l), nil
	}
	for range c.playing.struck(doRepeat, c.subject(l.instances[i]), c.now) {
		return c.describeLaunch(l), nil
	}
	return nil, refuse("IdempotentInstanceTerminated",
		"The client token you have provided is associated with a terminated instance. Please use a different client token.")
}

// location is where a launch goes: its zone, the zone that the request itself
// named, if any, and whether it is to have no public address.
type location struct {
	zone        zone
	named       string
	unreachable bool
}

// place finds the launch's zone, and moves what a network interface says to
// where it stands in a launch without one.
func (c *call) place(in *runInstancesInput) (location, error) {
	var where location
	if len(in.NetworkInterfaces) > 0 {
		if len(in.NetworkInterfaces) > 1 || in.NetworkInterfaces[0].DeviceIndex != 0 {
			return where, refuse("UnsupportedOperation", "The local endpoint's instances have one network interface, of index 0")
		}
		const only = "Network interfaces and an instance-level %s may not be specified on the same request"
		switch {
		case in.SubnetID != "":
			return where, refuse("InvalidParameterCombination", only, "subnet ID")
		case len(in.GroupIDs)+len(in.Groups) > 0:
			return where, refuse("InvalidParameterCombination", only, "security groups")
		}
		card := in.NetworkInterfaces[0]
		in.SubnetID, in.GroupIDs = card.SubnetID, card.GroupIDs
		where.unreachable = card.PublicIP != nil && !*card.PublicIP
	}
	if in.SubnetID != "" {
		found, err := lookUp(subnetKind, []string{in.SubnetID}, c.zoneOfSubnet)
		if err != nil {
			return where, err
		}
		where.zone, where.named = found[0], found[0].name
	}
	if name := in.Placement.Zone; name != "" {
		z, ok := c.zoneNamed(name)
		if !ok {
			return where, refuse("InvalidParameterValue", "Invalid availability zone: [%s]", name)
		}
		if where.named != "" && where.named != name {
			return where, refuse("InvalidParameterValue",
				"The availability zone '%s' does not match that of the subnet '%s'", name, in.SubnetID)
		}
		if where.named == "" {
			where.zone, where.named = z, name
		}
	}
	if where.named == "" {
		// EC2 chooses; here launches take turns.
		where.zone = c.zones[int(c.sequence)%len(c.zones)]
	}
	return where, nil
}

// plan makes what all instances of the launch have in common, or says what is
// wrong with the request.
func (c *call) plan(in runInstancesInput, z zone) (instance, error) {
	inst := instance{
		zone: z, market: dormouse.OnDemand, clientToken: in.ClientToken, askedBy: c.accessKeyID,
		keyName: in.KeyName, userData: in.UserData, monitoring: in.Monitoring.Enabled,
		tenancy: cmp.Or(in.Placement.Tenancy, "default"), protected: in.Protected,
	}
	if in.ImageID == "" {
		return inst, missing("ImageId")
	}
	imageID, err := c.resolveImage(in.ImageID)
	if err != nil {
		return inst, err
	}
	images, err := lookUp(imageKind, []string{imageID}, c.launchableImage)
	if err != nil {
		return inst, err
	}
	inst.image = images[0]
	if inst.image.State != "available" {
		return inst, refuse("InvalidAMIID.Unavailable", "The image ID '%s' is not available", in.ImageID)
	}
	name := cmp.Or(in.InstanceType, defaultInstanceType)
	kind, ok := typeNamed(name)
	if inst.kind = kind; !ok {
		return inst, refuse("InvalidParameterValue", "Invalid value '%s' for InstanceType.", name)
	}
	if has, takes := inst.image.Architecture, kind.architecture(); has != takes {
		return inst, refuse("InvalidParameterValue", "The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI. "+
			"Specify an instance type and an AMI that have matching architectures, and try again.", takes, has)
	}
	if in.KeyName != "" && c.keyNamed(in.KeyName) == nil {
		return inst, refuse("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", in.KeyName)
	}
	if inst.groups, err = c.launchGroups(in, z.vpcID); err != nil {
		return inst, err
	}
	if len(in.UserData) > maxUserData {
		return inst, refuse("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
	}
	if err := checkTagSpecifications(in.TagSpecifications, "instance", "volume", "network-interface", "spot-instances-request"); err != nil {
		return inst, err
	}
	if in.Hibernation.Configured {
		return inst, refuse("UnsupportedHibernationConfiguration", "Hibernation needs an encrypted root volume, which no image of the local endpoint has")
	}
	if err := inst.buy(in.Market); err != nil {
		return inst, err
	}
	if err := inst.behave(in.Behaviour); err != nil {
		return inst, err
	}
	if inst.profile, err = c.profile(in.Profile); err != nil {
		return inst, err
	}
	if inst.metadata, err = in.MetadataOptions.parse(); err != nil {
		return inst, err
	}
	if inst.metadata.tags {
		if err := checkMetadataKeys(tagsFor(in.TagSpecifications, "instance")); err != nil {
			return inst, err
		}
	}
	// Volumes may survive their instances, launch after launch.
	if err := c.room(len(c.volumes) - c.living); err != nil {
		return inst, err
	}
	inst.disks, err = planDisks(inst.image, in.BlockDevices)
	return inst, err
}

// buy takes up the market options.
func (inst *instance) buy(in *marketInput) error {
	if in == nil {
		return nil
	}
	if in.Type != "spot" {
		return invalidValue("InstanceMarketOptions.MarketType", in.Type, "The local endpoint knows spot.")
	}
	if kind := cmp.Or(in.Spot.Type, "one-time"); kind != "one-time" {
		return refuse("UnsupportedOperation", "The local endpoint knows one-time Spot instances, not %q", kind)
	}
	if what := cmp.Or(in.Spot.Interruption, behaviourTerminate); what != behaviourTerminate {
		return refuse("InvalidParameterCombination",
			"The interruption behavior '%s' cannot be used with a one-time Spot request", what)
	}
	if bid := in.Spot.MaxPrice; bid != "" {
		price, err := strconv.ParseFloat(bid, 64)
		if err != nil || price <= minSpotPrice || !plainDecimal(bid) {
			return refuse("InvalidParameterValue", "Invalid value '%s' for spotPrice: expecting a decimal number above %g", bid, minSpotPrice)
		}
	}
	inst.market, inst.maxPrice = dormouse.Spot, in.Spot.MaxPrice
	return nil
}

// plainDecimal reports whether a number is written with digits and at most one
// point: EC2 knows no exponents.
func plainDecimal(text string) bool {
	return !slices.ContainsFunc([]byte(text), func(b byte) bool { return (b < '0' || b > '9') && b != '.' })
}

// behave settles what happens when the machine shuts itself down. It is the
// owner's choice only where there is a volume to come back to.
func (inst *instance) behave(want string) error {
	if want != "" && want != behaviourStop && want != behaviourTerminate {
		return invalidValue("InstanceInitiatedShutdownBehavior", want, "Expecting stop or terminate.")
	}
	if want != "" && inst.image.RootDeviceType != rootEBS {
		return refuse("InvalidParameterCombination",
			"The attribute instanceInitiatedShutdownBehavior can only be used for EBS-backed images.")
	}
	inst.behaviour = cmp.Or(want, behaviourStop)
	if inst.image.RootDeviceType != rootEBS || inst.market == dormouse.Spot {
		inst.behaviour = behaviourTerminate
	}
	return nil
}

func (c *call) profile(in *profileInput) (*instanceProfile, error) {
	switch {
	case in == nil:
		return nil, nil
	case (in.ARN == "") == (in.Name == ""):
		return nil, refuse("InvalidParameterCombination", "The parameter iamInstanceProfile needs either a name or an ARN")
	case in.Name != "":
		in.ARN = "arn:aws:iam::" + c.opts.AccountID + ":instance-profile/" + in.Name
	}
	name := in.ARN[strings.LastIndex(in.ARN, "/")+1:]
	if known := c.opts.InstanceProfiles; len(known) > 0 && !slices.Contains(known, name) {
		return nil, refuse("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", name)
	}
	return &instanceProfile{ARN: in.ARN, ID: "AIPADORMOUSELOCAL0000"}, nil
}

func (in metadataOptionsInput) parse() (metadataOptions, error) {
	var opts metadataOptions
	for _, p := range []struct{ name, value, off, on string }{
		{"HttpEndpoint", in.Endpoint, "disabled", "enabled"},
		{"HttpTokens", in.Tokens, "optional", "required"},
		{"HttpProtocolIpv6", in.IPv6, "disabled", "enabled"},
		{"InstanceMetadataTags", in.Tags, "disabled", "enabled"},
	} {
		if p.value != "" && p.value != p.off && p.value != p.on {
			return opts, invalidValue("MetadataOptions."+p.name, p.value, "Expecting "+p.off+" or "+p.on+".")
		}
	}
	opts = metadataOptions{
		tokensRequired: in.Tokens == "required", disabled: in.Endpoint == "disabled", hopLimit: 1,
		ipv6: in.IPv6 == "enabled", tags: in.Tags == "enabled",
	}
	if in.HopLimit != nil {
		if opts.hopLimit = *in.HopLimit; opts.hopLimit < 1 || opts.hopLimit > 64 {
			return opts, invalidValue("MetadataOptions.HttpPutResponseHopLimit", strconv.Itoa(opts.hopLimit), "Expecting 1 to 64.")
		}
	}
	return opts, nil
}

// admit says how many instances there are for a launch: as many as EC2 can, if
// that is at least the minimum.
func (c *call) admit(least, most int) (int, error) {
	switch {
	case least < 1:
		return 0, invalidValue("minCount", strconv.Itoa(least), "Expecting a positive number.")
	case most < least:
		return 0, refuse("InvalidParameterCombination", "The parameter maxCount (%d) is less than minCount (%d)", most, least)
	case most > maxLaunch:
		return 0, refuse("InstanceLimitExceeded", "You have requested more instances (%d) than the %d that one call may ask for", most, maxLaunch)
	case c.shut:
		return 0, refuse("Unavailable", "The local endpoint is shutting down").withStatus(503)
	}
	free := c.opts.MaxInstances - c.living
	if free < least {
		return 0, refuse("InstanceLimitExceeded",
			"You have requested more instances (%d) than your current instance limit of %d allows: %d have not ended",
			least, c.opts.MaxInstances, c.living)
	}
	return min(most, free), nil
}

// build makes one instance of a launch.
func (c *call) build(template instance, l *launch, index int) *instance {
	inst := template
	c.sequence++
	inst.id, inst.sequence = newID("i"), c.sequence
	inst.reservation, inst.launch, inst.index = l.reservation, l, index
	inst.interfaceID = newID(interfaceKind.prefix)
	inst.privateIP, inst.publicIP = addresses(inst.zone, inst.sequence)
	if inst.unreachable {
		inst.publicIP = ""
	}
	inst.state, inst.stateReason = dormouse.InstancePending, reasonPending
	inst.launchedAt = c.now.Truncate(time.Millisecond)
	inst.console = &console{}
	inst.ending, inst.refated = make(chan struct{}), make(chan struct{}, 1)
	return &inst
}
