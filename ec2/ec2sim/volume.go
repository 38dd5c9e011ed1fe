package ec2sim

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"strconv"
	"time"
)

// volume is an EBS volume: one that a call made, or that came with an instance.
// There is nothing in it.
type volume struct {
	id          string
	sequence    int64
	zone        zone
	sizeGiB     int
	kind        string // gp3
	iops        int
	throughput  int // MiB/s
	encrypted   bool
	createdAt   time.Time
	readyAt     time.Time   // until then it is being created
	attachment  *attachment // nil: none
	clientToken string
	fingerprint [sha256.Size]byte // of the call, when that had a token
}

// attachment is a volume on an instance.
type attachment struct {
	volume              *volume
	inst                *instance
	device              string
	deleteOnTermination bool
	attachedAt          time.Time
	settledAt           time.Time // until then it is being attached
	goneAt              time.Time // when it will be detached, if that was asked for
}

// volumeDelay is how long a volume is being created, attached or detached: on
// AWS some seconds, here just long enough to be seen.
const volumeDelay = time.Second

// The states of volumes and of their attachments.
const (
	volumeCreating  = "creating"
	volumeAvailable = "available"
	volumeInUse     = "in-use"

	attachmentAttaching = "attaching"
	attachmentAttached  = "attached"
	attachmentDetaching = "detaching"
)

func (v *volume) state(now time.Time) string {
	switch {
	case v.attachment != nil:
		return volumeInUse
	case now.Before(v.readyAt):
		return volumeCreating
	default:
		return volumeAvailable
	}
}

func (a *attachment) state(now time.Time) string {
	switch {
	case !a.goneAt.IsZero():
		return attachmentDetaching
	case now.Before(a.settledAt):
		return attachmentAttaching
	default:
		return attachmentAttached
	}
}

func (c *cloud) volume(id string) (*volume, bool) {
	i := slices.IndexFunc(c.volumes, func(v *volume) bool { return v.id == id })
	if i < 0 {
		return nil, false
	}
	return c.volumes[i], true
}

// attach puts a volume on an instance.
func (c *cloud) attach(v *volume, inst *instance, device string, deleteOnTermination bool, now, settled time.Time) *attachment {
	a := &attachment{
		volume: v, inst: inst, device: device, deleteOnTermination: deleteOnTermination, attachedAt: now, settledAt: settled,
	}
	v.attachment = a
	inst.volumes = append(inst.volumes, a)
	return a
}

// remove takes a volume off its instance.
func (a *attachment) remove() {
	a.volume.attachment = nil
	a.inst.volumes = slices.DeleteFunc(a.inst.volumes, func(o *attachment) bool { return o == a })
}

// settleVolumes finishes the detachments whose time has come.
func (c *cloud) settleVolumes(now time.Time) {
	c.detaching = slices.DeleteFunc(c.detaching, func(a *attachment) bool {
		if a.volume.attachment != a {
			return true // the instance's end, or force, was quicker
		}
		if now.Before(a.goneAt) {
			return false
		}
		a.remove()
		return true
	})
}

// releaseVolumes deletes the volumes that end with their instance and frees the
// others.
func (c *cloud) releaseVolumes(inst *instance, now time.Time) {
	for _, a := range slices.Clone(inst.volumes) {
		a.remove()
		if a.deleteOnTermination && (a.goneAt.IsZero() || now.Before(a.goneAt)) {
			c.deleteVolumeNow(a.volume)
		}
	}
}

func (c *cloud) deleteVolumeNow(v *volume) {
	c.volumes = slices.DeleteFunc(c.volumes, func(o *volume) bool { return o == v })
	delete(c.tags, v.id)
}

// volumeLimits are what EBS has for a type: Amazon EBS User Guide, "Amazon EBS
// volume types".
type volumeLimits struct {
	minGiB, maxGiB int
	provisioned    bool // its IOPS have to be said
	iops           int  // of a volume that says none
	throughput     int  // MiB/s
}

var volumeTypes = map[string]volumeLimits{
	"gp2":      {1, 16384, false, 100, 0},
	"gp3":      {1, 65536, false, 3000, 125},
	"io1":      {4, 16384, true, 0, 0},
	"io2":      {4, 65536, true, 0, 0},
	"st1":      {125, 16384, false, 0, 0},
	"sc1":      {125, 16384, false, 0, 0},
	"standard": {1, 1024, false, 0, 0},
}

// defaultVolumeType is what EC2 makes when it is told no type.
const defaultVolumeType = "gp2"

// checkVolume refuses a volume that EBS does not have.
func checkVolume(kind string, sizeGiB int, iops *int) error {
	limits, ok := volumeTypes[kind]
	switch {
	case !ok:
		return refuse("UnknownVolumeType", "Unsupported volume type '%s' for volume creation.", kind)
	case sizeGiB < limits.minGiB || sizeGiB > limits.maxGiB:
		return refuse("InvalidParameterValue", "Volume of %dGiB is invalid: volumes of type %s have %d to %d GiB.",
			sizeGiB, kind, limits.minGiB, limits.maxGiB)
	case limits.provisioned && iops == nil:
		return refuse("MissingParameter", "The parameter iops must be specified for %s volumes.", kind)
	case iops != nil && *iops < 1:
		return invalidValue("iops", strconv.Itoa(*iops), "Expecting a positive number.")
	case iops != nil && !limits.provisioned && kind != "gp3":
		return refuse("InvalidParameterCombination", "The parameter iops is not supported for %s volumes.", kind)
	}
	return nil
}

type createVolumeInput struct {
	Zone              string             `query:"AvailabilityZone"`
	ZoneID            string             `query:"AvailabilityZoneId"`
	Size              *int               `query:"Size"`
	SnapshotID        string             `query:"SnapshotId"`
	Type              string             `query:"VolumeType"`
	Iops              *int               `query:"Iops"`
	Throughput        *int               `query:"Throughput"`
	Encrypted         bool               `query:"Encrypted"`
	ClientToken       string             `query:"ClientToken"`
	TagSpecifications []tagSpecification `query:"TagSpecification"`
	_                 ignored            `query:"KmsKeyId VolumeInitializationRate"`
	_                 unsimulated        `query:"MultiAttachEnabled OutpostArn Operator"`
}

type createVolumeOutput struct {
	reply
	volumeAnswer
}

func (c *call) createVolume(in createVolumeInput) (*createVolumeOutput, error) {
	if token := in.ClientToken; token != "" {
		i := slices.IndexFunc(c.volumes, func(v *volume) bool { return v.clientToken == token })
		if i >= 0 && c.volumes[i].fingerprint != c.fingerprint {
			return nil, errIdempotentMismatch()
		}
		if i >= 0 {
			return &createVolumeOutput{volumeAnswer: c.describeVolume(c.volumes[i])}, nil
		}
	}
	v, err := c.planVolume(in)
	if err != nil {
		return nil, err
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	v.id, v.sequence = newID("vol"), c.nextSequence()
	c.volumes = append(c.volumes, v)
	c.tag(v.id, tagsFor(in.TagSpecifications, "volume"))
	return &createVolumeOutput{volumeAnswer: c.describeVolume(v)}, nil
}

func errIdempotentMismatch() *fault {
	return refuse("IdempotentParameterMismatch",
		"Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
}

// planVolume makes the volume that a call describes, or says what is wrong with
// it.
func (c *call) planVolume(in createVolumeInput) (*volume, error) {
	if in.Zone == "" && in.ZoneID == "" {
		return nil, missing("AvailabilityZone")
	}
	if len(in.ClientToken) > maxClientToken {
		return nil, refuse("InvalidClientToken", "The client token is longer than %d characters", maxClientToken)
	}
	i := slices.IndexFunc(c.zones, func(z zone) bool {
		return (in.Zone == "" || z.name == in.Zone) && (in.ZoneID == "" || z.id == in.ZoneID)
	})
	if i < 0 {
		return nil, refuse("InvalidZone.NotFound", "The zone '%s' does not exist.", cmp.Or(in.Zone, in.ZoneID))
	}
	if in.SnapshotID != "" {
		if err := snapshotKind.check(in.SnapshotID); err != nil {
			return nil, err
		}
		return nil, snapshotKind.unknown(in.SnapshotID)
	}
	if in.Size == nil {
		return nil, refuse("MissingParameter", "The request must contain the parameter size/snapshot")
	}
	v := &volume{
		zone: c.zones[i], sizeGiB: *in.Size, kind: cmp.Or(in.Type, defaultVolumeType), encrypted: in.Encrypted,
		createdAt: c.now, readyAt: c.now.Add(volumeDelay), clientToken: in.ClientToken, fingerprint: c.fingerprint,
	}
	if err := checkVolume(v.kind, v.sizeGiB, in.Iops); err != nil {
		return nil, err
	}
	v.provision(in.Iops, in.Throughput)
	if err := checkTagSpecifications(in.TagSpecifications, "volume"); err != nil {
		return nil, err
	}
	return v, c.room(len(c.volumes))
}

// provision sets what a volume can do: as it was asked for, or its type's.
func (v *volume) provision(iops, throughput *int) {
	limits := volumeTypes[v.kind]
	v.iops, v.throughput = limits.iops, limits.throughput
	if iops != nil {
		v.iops = *iops
	}
	if throughput != nil && limits.throughput > 0 {
		v.throughput = *throughput
	}
}

type deleteVolumeInput struct {
	VolumeID string `query:"VolumeId,required"`
}

func (c *call) deleteVolume(in deleteVolumeInput) (*done, error) {
	found, err := lookUp(volumeKind, []string{in.VolumeID}, c.volume)
	if err != nil {
		return nil, err
	}
	v := found[0]
	switch v.state(c.now) {
	case volumeInUse:
		return nil, refuse("VolumeInUse", "Volume %s is currently attached to %s", v.id, v.attachment.inst.id)
	case volumeCreating:
		return nil, refuse("IncorrectState", "The volume '%s' is not 'available'.", v.id)
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	c.deleteVolumeNow(v)
	return &done{Return: true}, nil
}
