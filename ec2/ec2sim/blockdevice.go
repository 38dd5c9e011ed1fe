package ec2sim

import (
	"cmp"
)

// rootDevice is where the root volume of every EBS-backed image is.
const rootDevice = "/dev/sda1"

// rootGiB is the size of a root volume that the launch does not change, and of
// a mapping that names none: a usual image's.
const rootGiB = 8

type blockDeviceInput struct {
	Device      string    `query:"DeviceName"`
	Ebs         *ebsInput `query:"Ebs"`
	NoDevice    *string   `query:"NoDevice"`
	VirtualName string    `query:"VirtualName"`
}

type ebsInput struct {
	DeleteOnTermination *bool   `query:"DeleteOnTermination"`
	Size                *int    `query:"VolumeSize"`
	Type                string  `query:"VolumeType"`
	Iops                *int    `query:"Iops"`
	Throughput          *int    `query:"Throughput"`
	Encrypted           bool    `query:"Encrypted"`
	_                   ignored `query:"AvailabilityZone AvailabilityZoneId EbsCardIndex KmsKeyId OutpostArn SnapshotId VolumeInitializationRate"`
}

// disk is a volume that an instance will come with.
type disk struct {
	volume
	device              string
	deleteOnTermination bool
}

// planDisks returns the volumes that an instance comes with: the image's root
// and what the mapping adds, changes or takes away.
func planDisks(img Image, mapping []blockDeviceInput) ([]disk, error) {
	var disks []disk
	if img.RootDeviceType == rootEBS {
		root := disk{volume: volume{kind: defaultVolumeType, sizeGiB: rootGiB}, device: rootDevice, deleteOnTermination: true}
		root.provision(nil, nil)
		disks = append(disks, root)
	}
	seen := make(map[string]bool)
	for _, m := range mapping {
		switch {
		case m.Device == "":
			return nil, missing("BlockDeviceMapping.DeviceName")
		case seen[m.Device]:
			return nil, refuse("InvalidBlockDeviceMapping", "The device '%s' is used in more than one block-device mapping", m.Device)
		case m.Ebs != nil && m.VirtualName != "":
			return nil, refuse("InvalidParameterCombination", "The device '%s' is both an EBS volume and '%s'", m.Device, m.VirtualName)
		case m.NoDevice != nil && m.Device == rootDevice:
			return nil, refuse("InvalidBlockDeviceMapping", "The root device '%s' cannot be left out", m.Device)
		}
		seen[m.Device] = true
		if m.Ebs == nil {
			continue // nothing, or a disk of the host: no volume
		}
		d, err := m.Ebs.plan(m.Device)
		switch {
		case err != nil:
			return nil, err
		case m.Device == rootDevice && len(disks) > 0:
			disks[0] = d
		default:
			disks = append(disks, d)
		}
	}
	return disks, nil
}

func (in *ebsInput) plan(device string) (disk, error) {
	d := disk{
		volume: volume{kind: cmp.Or(in.Type, defaultVolumeType), sizeGiB: rootGiB, encrypted: in.Encrypted},
		device: device, deleteOnTermination: true,
	}
	if in.Size != nil {
		d.sizeGiB = *in.Size
	} else {
		d.sizeGiB = max(d.sizeGiB, volumeTypes[d.kind].minGiB) // as a snapshot would say
	}
	if in.DeleteOnTermination != nil {
		d.deleteOnTermination = *in.DeleteOnTermination
	}
	d.provision(in.Iops, in.Throughput)
	return d, checkVolume(d.kind, d.sizeGiB, in.Iops)
}

// furnish makes the volumes that an instance comes with.
func (c *call) furnish(inst *instance, tags []tag) {
	for _, d := range inst.disks {
		v := d.volume
		v.id, v.sequence, v.zone, v.createdAt = newID("vol"), c.nextSequence(), inst.zone, c.now
		c.volumes = append(c.volumes, &v)
		c.attach(&v, inst, d.device, d.deleteOnTermination, c.now, c.now)
		c.tag(v.id, tags)
	}
}
