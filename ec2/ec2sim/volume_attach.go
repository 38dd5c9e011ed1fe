package ec2sim

import (
	"slices"

	"github.com/dormouse-ci/dormouse"
)

type attachVolumeInput struct {
	VolumeID   string  `query:"VolumeId,required"`
	InstanceID string  `query:"InstanceId,required"`
	Device     string  `query:"Device,required"`
	_          ignored `query:"EbsCardIndex"`
}

type attachmentOutput struct {
	reply
	attachmentAnswer
}

func (c *call) attachVolume(in attachVolumeInput) (*attachmentOutput, error) {
	v, inst, err := c.volumeAndInstance(in.VolumeID, in.InstanceID)
	if err != nil {
		return nil, err
	}
	switch {
	case v.state(c.now) == volumeInUse:
		return nil, refuse("VolumeInUse", "%s is already attached to an instance", v.id)
	case v.state(c.now) != volumeAvailable:
		return nil, refuse("IncorrectState", "%s is not 'available'.", v.id)
	case inst.state != dormouse.InstanceRunning && inst.state != dormouse.InstanceStopped && inst.state != dormouse.InstanceStopping:
		return nil, refuse("IncorrectState", "Instance '%s' is not 'running'.", inst.id)
	case v.zone.name != inst.zone.name:
		return nil, refuse("InvalidVolume.ZoneMismatch", "The volume '%s' is not in the same availability zone as instance '%s'", v.id, inst.id)
	case in.Device == "":
		return nil, invalidValue("device", in.Device, "Expecting a device's name, for instance /dev/sdf.")
	case slices.ContainsFunc(inst.volumes, func(a *attachment) bool { return a.device == in.Device }):
		return nil, refuse("InvalidParameterValue", "Invalid value '%s' for unixDevice. Attachment point %s is already in use", in.Device, in.Device)
	case len(inst.volumes) >= maxAttachments:
		return nil, refuse("AttachmentLimitExceeded", "The instance '%s' has the most volumes that it can have", inst.id)
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	a := c.attach(v, inst, in.Device, false, c.now, c.now.Add(volumeDelay))
	return &attachmentOutput{attachmentAnswer: a.describe(c.now)}, nil
}

// maxAttachments is what instances of the Nitro system can have, volumes and
// network interfaces together: 28, of which one is the interface.
const maxAttachments = 27

func (c *call) volumeAndInstance(volumeID, instanceID string) (*volume, *instance, error) {
	volumes, err := lookUp(volumeKind, []string{volumeID}, c.volume)
	if err != nil {
		return nil, nil, err
	}
	if instanceID == "" {
		return volumes[0], nil, nil
	}
	instances, err := lookUp(instanceKind, []string{instanceID}, c.instance)
	if err != nil {
		return nil, nil, err
	}
	return volumes[0], instances[0], nil
}

type detachVolumeInput struct {
	VolumeID   string `query:"VolumeId,required"`
	InstanceID string `query:"InstanceId"`
	Device     string `query:"Device"`
	Force      bool   `query:"Force"`
}

// detachVolume takes a volume from an instance, which may not do without its
// root volume while it runs. Force does it at once.
func (c *call) detachVolume(in detachVolumeInput) (*attachmentOutput, error) {
	v, inst, err := c.volumeAndInstance(in.VolumeID, in.InstanceID)
	if err != nil {
		return nil, err
	}
	a := v.attachment
	switch {
	case a == nil:
		return nil, refuse("IncorrectState", "Volume '%s' is in the '%s' state.", v.id, v.state(c.now))
	case inst != nil && a.inst != inst, in.Device != "" && a.device != in.Device:
		return nil, refuse("InvalidAttachment.NotFound", "The volume '%s' is not attached to instance '%s' as device '%s'",
			v.id, in.InstanceID, in.Device)
	case a.device == rootDevice && a.inst.image.RootDeviceType == rootEBS && a.inst.state != dormouse.InstanceStopped:
		return nil, refuse("OperationNotPermitted", "Unable to detach root volume '%s' from instance '%s'", v.id, a.inst.id)
	case !a.goneAt.IsZero() && !in.Force:
		return nil, refuse("IncorrectState", "Volume '%s' is in the 'detaching' state.", v.id)
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	a.goneAt = c.now.Add(volumeDelay)
	out := &attachmentOutput{attachmentAnswer: a.describe(c.now)}
	if in.Force {
		a.remove()
	} else {
		c.detaching = append(c.detaching, a)
	}
	return out, nil
}
