package ec2sim

import (
	"slices"
	"strconv"
	"time"
)

type volumeAnswer struct {
	VolumeID    string                `xml:"volumeId"`
	Size        int                   `xml:"size"`
	SnapshotID  string                `xml:"snapshotId"`
	Zone        string                `xml:"availabilityZone"`
	ZoneID      string                `xml:"availabilityZoneId"`
	State       string                `xml:"status"`
	CreateTime  string                `xml:"createTime"`
	Attachments set[attachmentAnswer] `xml:"attachmentSet"`
	Tags        set[tag]              `xml:"tagSet"`
	Type        string                `xml:"volumeType"`
	Iops        int                   `xml:"iops,omitempty"`
	Throughput  int                   `xml:"throughput,omitempty"`
	Encrypted   bool                  `xml:"encrypted"`
	MultiAttach bool                  `xml:"multiAttachEnabled"`
}

type attachmentAnswer struct {
	VolumeID            string `xml:"volumeId"`
	InstanceID          string `xml:"instanceId"`
	Device              string `xml:"device"`
	State               string `xml:"status"`
	AttachTime          string `xml:"attachTime"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
}

func (c *call) describeVolume(v *volume) volumeAnswer {
	a := volumeAnswer{
		VolumeID: v.id, Size: v.sizeGiB, Zone: v.zone.name, ZoneID: v.zone.id, State: v.state(c.now), CreateTime: stamp(v.createdAt),
		Tags: c.describeTags(v.id), Type: v.kind, Iops: v.iops, Throughput: v.throughput, Encrypted: v.encrypted,
	}
	if v.attachment != nil {
		a.Attachments.Items = []attachmentAnswer{v.attachment.describe(c.now)}
	}
	return a
}

func (a *attachment) describe(now time.Time) attachmentAnswer {
	return attachmentAnswer{
		VolumeID: a.volume.id, InstanceID: a.inst.id, Device: a.device, State: a.state(now),
		AttachTime: stamp(a.attachedAt), DeleteOnTermination: a.deleteOnTermination,
	}
}

type describeVolumesInput struct {
	paging
	VolumeIDs []string `query:"VolumeId"`
	Filters   []filter `query:"Filter"`
	_         ignored  `query:"IncludeManagedResources"`
}

type describeVolumesOutput struct {
	reply
	Volumes   set[volumeAnswer] `xml:"volumeSet"`
	NextToken string            `xml:"nextToken,omitempty"`
}

// volumeFields are the filters; those of the state depend on the time.
func volumeFields(now time.Time) fields[*volume] {
	ofAttachment := func(f func(*attachment) string) func(*volume) []string {
		return func(v *volume) []string {
			if v.attachment == nil {
				return nil
			}
			return []string{f(v.attachment)}
		}
	}
	return fields[*volume]{
		"volume-id":              one(func(v *volume) string { return v.id }),
		"status":                 one(func(v *volume) string { return v.state(now) }),
		"availability-zone":      one(func(v *volume) string { return v.zone.name }),
		"availability-zone-id":   one(func(v *volume) string { return v.zone.id }),
		"create-time":            one(func(v *volume) string { return stamp(v.createdAt) }),
		"size":                   one(func(v *volume) string { return strconv.Itoa(v.sizeGiB) }),
		"volume-type":            one(func(v *volume) string { return v.kind }),
		"encrypted":              one(func(v *volume) string { return strconv.FormatBool(v.encrypted) }),
		"snapshot-id":            one(func(*volume) string { return "" }),
		"multi-attach-enabled":   one(func(*volume) string { return "false" }),
		"attachment.instance-id": ofAttachment(func(a *attachment) string { return a.inst.id }),
		"attachment.device":      ofAttachment(func(a *attachment) string { return a.device }),
		"attachment.status":      ofAttachment(func(a *attachment) string { return a.state(now) }),
		"attachment.attach-time": ofAttachment(func(a *attachment) string { return stamp(a.attachedAt) }),
		"attachment.delete-on-termination": ofAttachment(func(a *attachment) string {
			return strconv.FormatBool(a.deleteOnTermination)
		}),
	}
}

func (c *call) describeVolumes(in describeVolumesInput) (*describeVolumesOutput, error) {
	if len(in.VolumeIDs) > 0 && in.MaxResults != nil {
		return nil, refuse("InvalidParameterCombination", "The parameter volumeSet cannot be used with the parameter maxResults")
	}
	keep, err := compileFilters(in.Filters, volumeFields(c.now), func(v *volume) map[string]string { return c.tags[v.id] })
	if err != nil {
		return nil, err
	}
	asked, err := lookUp(volumeKind, in.VolumeIDs, c.volume)
	if err != nil {
		return nil, err
	}
	var found []*volume
	for _, v := range c.volumes {
		if keep(v) && (len(in.VolumeIDs) == 0 || slices.Contains(asked, v)) {
			found = append(found, v)
		}
	}
	found, next, err := page(found, func(v *volume) int64 { return v.sequence }, in.paging, pageLimit{5, 1000})
	if err != nil {
		return nil, err
	}
	return &describeVolumesOutput{NextToken: next, Volumes: newSet(found, c.describeVolume)}, nil
}
