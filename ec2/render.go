package ec2

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

const (
	// MaxUserData is how many bytes of user data EC2 takes, before base64
	// (Amazon EC2 User Guide, "Run commands when you launch an EC2 instance
	// with user data").
	MaxUserData = 16 << 10
	// MaxBatch is how many instances one launch may ask for, and how many ids
	// one termination may name: the size of EC2's bucket of instances, and
	// what TerminateInstances takes.
	MaxBatch = 1000

	renderedVersion = 1
)

// rendered is a RunInstances input but for its ClientToken, as it is stored
// before it is sent. Its JSON is the launch's identity: the same launch gives
// the same bytes, and the same bytes the same request, also after an upgrade.
// A field may be added if it is left out of the JSON when it is empty; any
// other change is a new version.
type rendered struct {
	Version          int      `json:"v"`
	Region           string   `json:"region"`
	ImageID          string   `json:"image_id"`
	InstanceType     string   `json:"instance_type"`
	Count            int      `json:"count"` // MaxCount; MinCount is 1
	Zone             string   `json:"zone,omitempty"`
	SubnetID         string   `json:"subnet_id,omitempty"`
	SecurityGroups   []string `json:"security_groups,omitempty"` // by name, in the default VPC
	SecurityGroupIDs []string `json:"security_group_ids,omitempty"`
	// Interface has the instance's network interface described, and subnet and
	// groups stand in it: EC2 takes them in one of the two places.
	Interface       *networkInterface `json:"interface,omitempty"`
	KeyName         string            `json:"key_name,omitempty"`
	InstanceProfile string            `json:"instance_profile,omitempty"`
	BlockDevices    []blockDevice     `json:"block_devices,omitempty"`
	Template        *template         `json:"template,omitempty"`
	Spot            *spotMarket       `json:"spot,omitempty"`
	EndsAtShutdown  bool              `json:"ends_at_shutdown,omitempty"` // false: an instance-store root, which always ends
	Tags            map[string]string `json:"tags"`
	InterfaceTags   bool              `json:"interface_tags,omitempty"` // false: it makes none, or is of a Dormouse that gave interfaces none
	UserData        []byte            `json:"user_data,omitempty"`
}

// template is a launch template in a rendered launch.
type template struct {
	ID      string `json:"id,omitempty"`
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
}

// networkInterface is the one that an instance is launched with.
type networkInterface struct {
	PublicIP bool `json:"public_ip"`
}

type spotMarket struct {
	MaxPrice string `json:"max_price,omitempty"` // US dollars an hour; empty: no cap
}

// Render chooses the image, sees to it that the key pair and the security
// group exist, sets the bid, and writes the launch down as bytes that the
// caller stores before [Account.Launch] sends them. The same arguments give
// the same bytes for as long as the chosen image and the bid stay the same.
// The bytes hold the user data: they are not to be shown or logged.
//
// userData is sent as it is. tags are the ones of ownership.
func (a *Account) Render(ctx context.Context, spec LaunchSpec, o dormouse.Offering, count int, userData []byte, tags map[string]string) ([]byte, error) {
	r, err := a.compose(ctx, spec, o, count, userData, tags)
	if err != nil {
		return nil, err
	}
	if err := a.ensureKeypair(ctx, spec.KeypairName); err != nil {
		return nil, err
	}
	groupID, err := a.ensureSecurityGroup(ctx, spec.SecurityName)
	if err != nil {
		return nil, err
	}
	r.setGroups(spec, groupID)
	return r.encode()
}

// compose is a launch but for its security groups, with what EC2 says of its
// zone, image and price. It changes nothing.
func (a *Account) compose(ctx context.Context, spec LaunchSpec, o dormouse.Offering, count int, userData []byte, tags map[string]string) (*rendered, error) {
	r, err := draft(spec, o, count, userData, a.region, a.deployment, tags)
	if err != nil {
		return nil, err
	}
	if r.Template != nil {
		_, exists := a.interfaced.Load(*r.Template)
		r.InterfaceTags = !exists
	}
	if err := a.pin(ctx, spec, r); err != nil {
		return nil, err
	}
	image, err := a.chooseImage(ctx, spec)
	if err != nil {
		return nil, err
	}
	r.setImage(image)
	if o.Market == dormouse.Spot {
		price, err := a.bid(ctx, spec, o.InstanceType, a.eligibleZone(ctx, spec, r))
		if err != nil {
			return nil, err
		}
		r.Spot = &spotMarket{MaxPrice: price}
	}
	return r, nil
}

// draft is the part of a launch that needs no answer of EC2.
func draft(spec LaunchSpec, o dormouse.Offering, count int, userData []byte, region, deployment string, tags map[string]string) (*rendered, error) {
	switch {
	case count < 1 || count > MaxBatch:
		return nil, dormouse.Errorf(dormouse.Internal, "a launch of %d instances: one call starts 1 to %d", count, MaxBatch)
	case len(userData) > MaxUserData:
		return nil, dormouse.Errorf(dormouse.Configuration,
			"user_data of worker %s has %d bytes; EC2 takes at most %d: fetch the rest from the instance", spec.Worker, len(userData), MaxUserData)
	case o.InstanceType == "":
		return nil, dormouse.Errorf(dormouse.Configuration, "worker %s has no instance_type", spec.Worker)
	case count > 1 && spec.Exclusive():
		return nil, dormouse.Errorf(dormouse.Internal,
			"a launch of %d instances for worker %s, whose address or volumes only one can have", count, spec.Worker)
	case spec.LaunchTemplate.ID != "" && spec.LaunchTemplate.Name != "":
		return nil, dormouse.Errorf(dormouse.Configuration,
			"worker %s: name the launch template by its id or by its name, not both", spec.Worker)
	case spec.LaunchTemplate.Version != "" && spec.LaunchTemplate.ID+spec.LaunchTemplate.Name == "":
		return nil, dormouse.Errorf(dormouse.Configuration,
			"worker %s: a version of no launch template: name it by its id or by its name", spec.Worker)
	case spec.SecurityName != "" && o.Subnet != "":
		return nil, dormouse.Errorf(dormouse.Configuration,
			"worker %s: security_name works in the default VPC only; with subnet_id give security_group_ids", spec.Worker)
	}
	devices, err := blockDevices(spec.BlockDeviceMap)
	if err != nil {
		return nil, err
	}
	all, err := launchTags(deployment, spec.Tags, tags)
	if err != nil {
		return nil, err
	}
	r := &rendered{
		Version:         renderedVersion,
		Region:          region,
		InstanceType:    o.InstanceType,
		Count:           count,
		Zone:            zoneName(region, o.Zone),
		SubnetID:        o.Subnet,
		KeyName:         spec.KeypairName,
		InstanceProfile: spec.InstanceProfileName,
		BlockDevices:    devices,
		Tags:            all,
		InterfaceTags:   true,
		UserData:        userData,
	}
	if public := spec.AssociatePublicIPAddress; public != nil {
		r.Interface = &networkInterface{PublicIP: *public}
	}
	if spec.LaunchTemplate != (LaunchTemplate{}) {
		r.Template = new(template(spec.LaunchTemplate))
	}
	return r, nil
}

// setImage also settles what a power-off from inside does: an instance whose
// root is a volume would only stop, and go on costing, unless it is told to
// end; for any other EC2 refuses to be told. Where nobody knows the root, as
// with an image that EC2 itself looks up, it is taken for a volume: then the
// worst is a launch that EC2 refuses, and never a machine that goes on costing.
func (r *rendered) setImage(image Image) {
	r.ImageID = image.ID
	r.EndsAtShutdown = image.RootDeviceType != string(types.DeviceTypeInstanceStore)
}

// setGroups names the security groups in the one way that EC2 takes them: by
// name or by id, not both, and by id alone in a network interface.
func (r *rendered) setGroups(spec LaunchSpec, groupID string) {
	switch {
	case spec.SecurityName == "":
		r.SecurityGroupIDs = spec.SecurityGroupIDs
	case len(spec.SecurityGroupIDs) == 0 && r.Interface == nil:
		r.SecurityGroups = []string{spec.SecurityName}
	default:
		r.SecurityGroupIDs = append([]string{groupID}, spec.SecurityGroupIDs...)
	}
}

func (r *rendered) encode() ([]byte, error) {
	b, err := json.Marshal(r) // struct order and sorted map keys: canonical
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Internal, "a launch cannot be written down: %w", err)
	}
	return b, nil
}

// decodeRendered reads what encode wrote.
func decodeRendered(b []byte) (*rendered, error) {
	var version struct {
		V int `json:"v"`
	}
	// The versions' texts are left out of the errors: they quote user data.
	if json.Unmarshal(b, &version) != nil {
		return nil, dormouse.Errorf(dormouse.Internal, "a stored launch cannot be read")
	}
	if version.V != renderedVersion {
		return nil, dormouse.Errorf(dormouse.Internal,
			"a stored launch has version %d; this Dormouse knows version %d", version.V, renderedVersion)
	}
	var r rendered
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // a field that is dropped would change the request
	if d.Decode(&r) != nil || r.Count < 1 || r.Count > MaxBatch || r.ImageID == "" || r.InstanceType == "" {
		return nil, dormouse.Errorf(dormouse.Internal, "a stored launch cannot be read")
	}
	return &r, nil
}

// input is the RunInstances request that r stands for.
func (r *rendered) input(token string) *ec2.RunInstancesInput {
	in := &ec2.RunInstancesInput{
		ClientToken:  &token,
		ImageId:      &r.ImageID,
		InstanceType: types.InstanceType(r.InstanceType),
		MinCount:     new(int32(1)), // some is better than none: the rest is asked for again
		MaxCount:     new(int32(r.Count)),
		KeyName:      optional(r.KeyName),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpEndpoint: types.InstanceMetadataEndpointStateEnabled,
			HttpTokens:   types.HttpTokensStateRequired, // what a build can be tricked into fetching is not the role's keys
		},
		BlockDeviceMappings: sdkBlockDevices(r.BlockDevices),
	}
	r.connect(in)
	if t := r.Template; t != nil {
		in.LaunchTemplate = &types.LaunchTemplateSpecification{
			LaunchTemplateId: optional(t.ID), LaunchTemplateName: optional(t.Name), Version: optional(t.Version),
		}
	}
	if r.Zone != "" {
		in.Placement = &types.Placement{AvailabilityZone: &r.Zone}
	}
	if r.InstanceProfile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: &r.InstanceProfile}
	}
	if r.EndsAtShutdown {
		in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
	}
	if len(r.UserData) > 0 {
		in.UserData = new(base64.StdEncoding.EncodeToString(r.UserData))
	}
	if r.Spot != nil {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{
			MarketType: types.MarketTypeSpot,
			SpotOptions: &types.SpotMarketOptions{
				MaxPrice:                     optional(r.Spot.MaxPrice),
				SpotInstanceType:             types.SpotInstanceTypeOneTime,
				InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
			},
		}
	}
	for _, resource := range r.tagged() {
		in.TagSpecifications = append(in.TagSpecifications,
			types.TagSpecification{ResourceType: resource, Tags: sdkTags(r.Tags)})
	}
	return in
}

// connect says which subnet and groups the instances are in, in the one place for
// it.
func (r *rendered) connect(in *ec2.RunInstancesInput) {
	if r.Interface == nil {
		in.SubnetId, in.SecurityGroups, in.SecurityGroupIds = optional(r.SubnetID), r.SecurityGroups, r.SecurityGroupIDs
		return
	}
	in.NetworkInterfaces = []types.InstanceNetworkInterfaceSpecification{{
		DeviceIndex: new(int32(0)), AssociatePublicIpAddress: &r.Interface.PublicIP, DeleteOnTermination: new(true),
		SubnetId: optional(r.SubnetID), Groups: r.SecurityGroupIDs,
	}}
}

// tagged are the kinds of what the launch makes, all of which carry its tags: an
// organization's policy may ask for them on each.
func (r *rendered) tagged() []types.ResourceType {
	kinds := []types.ResourceType{types.ResourceTypeInstance}
	if r.EndsAtShutdown || slices.ContainsFunc(r.BlockDevices, func(d blockDevice) bool { return d.EBS != nil }) {
		kinds = append(kinds, types.ResourceTypeVolume)
	}
	if r.InterfaceTags {
		kinds = append(kinds, types.ResourceTypeNetworkInterface)
	}
	if r.Spot != nil {
		kinds = append(kinds, types.ResourceTypeSpotInstancesRequest)
	}
	return kinds
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Token is the ClientToken of a launch's attempt, at most the 64 characters
// that EC2 takes. It is the same after a restart, so that what was sent and
// not answered can be sent again without starting anything twice.
func Token(deployment, launch string, attempt int) string {
	return hashParts(deployment, launch, strconv.Itoa(attempt))
}
