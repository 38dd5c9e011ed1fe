package ec2sim

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/dormouse-ci/dormouse"
)

// reservation is one launch in an answer, or as much of it as was asked for.
type reservation struct {
	ReservationID string              `xml:"reservationId"`
	OwnerID       string              `xml:"ownerId"`
	Groups        set[groupRef]       `xml:"groupSet"` // of EC2-Classic: always empty
	Instances     set[instanceAnswer] `xml:"instancesSet"`
}

type runInstancesOutput struct {
	reply
	reservation
}

type groupRef struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

// instanceAnswer is an instance as EC2 describes it.
type instanceAnswer struct {
	InstanceID       string           `xml:"instanceId"`
	ImageID          string           `xml:"imageId"`
	State            instanceState    `xml:"instanceState"`
	PrivateDNSName   string           `xml:"privateDnsName"`
	DNSName          string           `xml:"dnsName"`
	Reason           string           `xml:"reason"`
	KeyName          string           `xml:"keyName,omitempty"`
	LaunchIndex      int              `xml:"amiLaunchIndex"`
	ProductCodes     set[string]      `xml:"productCodes"`
	InstanceType     string           `xml:"instanceType"`
	LaunchTime       string           `xml:"launchTime"`
	Zone             string           `xml:"placement>availabilityZone"`
	PlacementGroup   string           `xml:"placement>groupName"`
	Tenancy          string           `xml:"placement>tenancy"`
	Monitoring       string           `xml:"monitoring>state"`
	SubnetID         string           `xml:"subnetId,omitempty"`
	VPCID            string           `xml:"vpcId,omitempty"`
	PrivateIP        string           `xml:"privateIpAddress,omitempty"`
	PublicIP         string           `xml:"ipAddress,omitempty"`
	SourceDestCheck  bool             `xml:"sourceDestCheck"`
	Groups           set[groupRef]    `xml:"groupSet"`
	StateReason      *reasonAnswer    `xml:"stateReason"`
	Architecture     string           `xml:"architecture"`
	RootDeviceType   string           `xml:"rootDeviceType"`
	RootDeviceName   string           `xml:"rootDeviceName,omitempty"`
	BlockDevices     set[blockDevice] `xml:"blockDeviceMapping"`
	Virtualization   string           `xml:"virtualizationType"`
	ClientToken      string           `xml:"clientToken"`
	Tags             set[tag]         `xml:"tagSet"`
	Hypervisor       string           `xml:"hypervisor"`
	Lifecycle        string           `xml:"instanceLifecycle,omitempty"`
	SpotRequestID    string           `xml:"spotInstanceRequestId,omitempty"`
	Interfaces       set[interfaceID] `xml:"networkInterfaceSet"`
	Profile          *instanceProfile `xml:"iamInstanceProfile"`
	EBSOptimized     bool             `xml:"ebsOptimized"`
	MetadataState    string           `xml:"metadataOptions>state"`
	MetadataTokens   string           `xml:"metadataOptions>httpTokens"`
	MetadataHops     int              `xml:"metadataOptions>httpPutResponseHopLimit"`
	MetadataEndpoint string           `xml:"metadataOptions>httpEndpoint"`
	MetadataIPv6     string           `xml:"metadataOptions>httpProtocolIpv6"`
	MetadataTags     string           `xml:"metadataOptions>instanceMetadataTags"`
	PlatformDetails  string           `xml:"platformDetails"`
}

type reasonAnswer struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

type interfaceID struct {
	ID string `xml:"networkInterfaceId"`
}

type blockDevice struct {
	Device              string `xml:"deviceName"`
	VolumeID            string `xml:"ebs>volumeId"`
	Status              string `xml:"ebs>status"`
	AttachTime          string `xml:"ebs>attachTime"`
	DeleteOnTermination bool   `xml:"ebs>deleteOnTermination"`
}

// describe tells of an instance as EC2 would: one that has ended has no
// addresses, volumes or groups any more.
func (c *call) describe(inst *instance) instanceAnswer {
	a := instanceAnswer{
		InstanceID:       inst.id,
		ImageID:          inst.image.ID,
		State:            describeState(inst.state),
		Reason:           inst.transition,
		KeyName:          inst.keyName,
		LaunchIndex:      inst.index,
		InstanceType:     inst.kind.name,
		LaunchTime:       stamp(inst.launchTime()),
		Zone:             inst.zone.name,
		Tenancy:          inst.tenancy,
		Monitoring:       choose(inst.monitoring, "enabled", "disabled"),
		Architecture:     inst.image.Architecture,
		RootDeviceType:   inst.image.RootDeviceType,
		Virtualization:   "hvm",
		ClientToken:      inst.clientToken,
		Tags:             listTags(c.tagsOf(inst)),
		Hypervisor:       "xen",
		SpotRequestID:    inst.spotRequest,
		Profile:          inst.profile,
		MetadataState:    "applied",
		MetadataTokens:   choose(inst.metadata.tokensRequired, "required", "optional"),
		MetadataHops:     inst.metadata.hopLimit,
		MetadataEndpoint: choose(inst.metadata.disabled, "disabled", "enabled"),
		MetadataIPv6:     choose(inst.metadata.ipv6, "enabled", "disabled"),
		MetadataTags:     choose(inst.metadata.tags, "enabled", "disabled"),
		PlatformDetails:  inst.image.platform(),
	}
	if inst.market == dormouse.Spot {
		a.Lifecycle = "spot"
	}
	if inst.stateReason.code != "" {
		a.StateReason = &reasonAnswer{inst.stateReason.code, inst.stateReason.message}
	}
	if inst.image.RootDeviceType == rootEBS {
		a.RootDeviceName = rootDevice
	}
	if inst.state.Ended() {
		return a
	}
	a.SubnetID, a.VPCID, a.SourceDestCheck = inst.zone.subnetID, inst.zone.vpcID, true
	a.PrivateIP, a.PrivateDNSName = inst.privateIP, inst.privateName()
	if inst.state == dormouse.InstanceRunning {
		a.PublicIP, a.DNSName = inst.publicIP, inst.publicName()
	}
	a.Interfaces = set[interfaceID]{[]interfaceID{{inst.interfaceID}}}
	a.Groups = newSet(inst.groups, func(g *securityGroup) groupRef { return groupRef{g.id, g.name} })
	a.BlockDevices = newSet(inst.volumes, func(v *attachment) blockDevice {
		return blockDevice{
			Device: v.device, VolumeID: v.volume.id, Status: choose(inst.state == dormouse.InstancePending, attachmentAttaching, v.state(c.now)),
			AttachTime: stamp(v.attachedAt), DeleteOnTermination: v.deleteOnTermination,
		}
	})
	return a
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

func (c *call) describeLaunch(l *launch) *runInstancesOutput {
	return &runInstancesOutput{reservation: c.reserve(l.reservation, l.instances)}
}

func (c *call) reserve(id string, instances []*instance) reservation {
	return reservation{ReservationID: id, OwnerID: c.opts.AccountID, Instances: newSet(instances, c.describe)}
}

type describeInstancesInput struct {
	paging
	InstanceIDs []string `query:"InstanceId"`
	Filters     []filter `query:"Filter"`
	_           ignored  `query:"IncludeManagedResources"`
}

type describeInstancesOutput struct {
	reply
	Reservations set[reservation] `xml:"reservationSet"`
	NextToken    string           `xml:"nextToken,omitempty"`
}

var instanceFields = fields[*instance]{
	"instance-id":         one(func(i *instance) string { return i.id }),
	"image-id":            one(func(i *instance) string { return i.image.ID }),
	"instance-type":       one(func(i *instance) string { return i.kind.name }),
	"instance-state-name": one(func(i *instance) string { return string(i.state) }),
	"instance-state-code": one(func(i *instance) string { return strconv.Itoa(stateCodes[i.state]) }),
	"client-token":        one(func(i *instance) string { return i.clientToken }),
	"availability-zone":   one(func(i *instance) string { return i.zone.name }),
	"subnet-id":           one(func(i *instance) string { return i.zone.subnetID }),
	"vpc-id":              one(func(i *instance) string { return i.zone.vpcID }),
	"key-name":            one(func(i *instance) string { return i.keyName }),
	"reservation-id":      one(func(i *instance) string { return i.reservation }),
	"private-ip-address":  one(func(i *instance) string { return i.privateIP }),
	"ip-address":          one(func(i *instance) string { return i.publicIP }),
	"root-device-type":    one(func(i *instance) string { return i.image.RootDeviceType }),
	"architecture":        one(func(i *instance) string { return i.image.Architecture }),
	"tenancy":             func(*instance) []string { return []string{"default"} },
	"hypervisor":          func(*instance) []string { return []string{"xen"} },
	"virtualization-type": func(*instance) []string { return []string{"hvm"} },
	"platform-details":    one(func(i *instance) string { return i.image.platform() }),
	"state-reason-code":   one(func(i *instance) string { return i.stateReason.code }),
	"launch-time":         one(func(i *instance) string { return stamp(i.launchTime()) }),
	"instance-lifecycle": one(func(i *instance) string {
		return choose(i.market == dormouse.Spot, "spot", "")
	}),
	"spot-instance-request-id": one(func(i *instance) string { return i.spotRequest }),
	"instance.group-id": func(i *instance) (ids []string) {
		for _, g := range i.groups {
			ids = append(ids, g.id)
		}
		return ids
	},
	"instance.group-name": func(i *instance) (names []string) {
		for _, g := range i.groups {
			names = append(names, g.name)
		}
		return names
	},
}

func (c *call) describeInstances(in describeInstancesInput) (*describeInstancesOutput, error) {
	if len(in.InstanceIDs) > 0 && in.MaxResults != nil {
		return nil, refuse("InvalidParameterCombination",
			"The parameter instancesSet cannot be used with the parameter maxResults")
	}
	keep, err := compileFilters(in.Filters, instanceFields, c.tagsOf)
	if err != nil {
		return nil, err
	}
	from := c.instances
	if len(in.InstanceIDs) > 0 {
		if from, err = lookUp(instanceKind, in.InstanceIDs, c.instance); err != nil {
			return nil, err
		}
		slices.SortFunc(from, func(a, b *instance) int { return cmp.Compare(a.sequence, b.sequence) })
	}
	var found []*instance
	for _, inst := range from {
		if c.knows(inst) && keep(inst) {
			found = append(found, inst)
		}
	}
	found, next, err := page(found, func(i *instance) int64 { return i.sequence }, in.paging, pageLimit{5, 1000})
	if err != nil {
		return nil, err
	}
	out := &describeInstancesOutput{NextToken: next}
	for len(found) > 0 {
		// A launch's instances stand together, as they were started.
		n := slices.IndexFunc(found, func(i *instance) bool { return i.reservation != found[0].reservation })
		if n < 0 {
			n = len(found)
		}
		out.Reservations.Items = append(out.Reservations.Items, c.reserve(found[0].reservation, found[:n]))
		found = found[n:]
	}
	return out, nil
}
