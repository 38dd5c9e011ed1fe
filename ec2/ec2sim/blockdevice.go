package ec2sim

import (
	"strconv"
)

// rootDevice is where the root volume of every EBS-backed image is.
const rootDevice = "/dev/sda1"

// maxVolumeGiB is the largest size of EBS's general purpose volumes that all
// regions have.
const maxVolumeGiB = 16384

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
	_                   ignored `query:"AvailabilityZone AvailabilityZoneId EbsCardIndex Encrypted Iops KmsKeyId OutpostArn SnapshotId Throughput VolumeInitializationRate"`
}

// planVolumes returns the volumes that an instance comes with: the image's root
// and what the mapping adds, changes or takes away.
func planVolumes(img Image, mapping []blockDeviceInput) ([]volume, error) {
	var volumes []volume
	if img.RootDeviceType == rootEBS {
		volumes = append(volumes, volume{device: rootDevice, deleteOnTermination: true})
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
			return nil, refuse("InvalidBlockDeviceMapping", "The root device '%s' can not be left out", m.Device)
		}
		seen[m.Device] = true
		if m.Ebs == nil {
			continue // nothing, or a disk of the host: no volume
		}
		if size := m.Ebs.Size; size != nil && (*size < 1 || *size > maxVolumeGiB) {
			return nil, invalidValue("volumeSize", strconv.Itoa(*size), "Expecting 1 to "+strconv.Itoa(maxVolumeGiB)+" GiB.")
		}
		v := volume{device: m.Device, deleteOnTermination: true}
		if keep := m.Ebs.DeleteOnTermination; keep != nil {
			v.deleteOnTermination = *keep
		}
		if m.Device == rootDevice && len(volumes) > 0 {
			volumes[0] = v
			continue
		}
		volumes = append(volumes, v)
	}
	return volumes, nil
}
