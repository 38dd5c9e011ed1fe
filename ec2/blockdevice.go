package ec2

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

// blockDevice is an entry of block_device_map as it is kept in a rendered
// launch. A nil pointer leaves the choice to EC2.
type blockDevice struct {
	DeviceName  *string `json:"device_name,omitempty"`
	VirtualName *string `json:"virtual_name,omitempty"`
	NoDevice    *string `json:"no_device,omitempty"`
	EBS         *ebs    `json:"ebs,omitempty"`
}

type ebs struct {
	DeleteOnTermination      *bool   `json:"delete_on_termination,omitempty"`
	Encrypted                *bool   `json:"encrypted,omitempty"`
	IOPS                     *int32  `json:"iops,omitempty"`
	KMSKeyID                 *string `json:"kms_key_id,omitempty"`
	OutpostARN               *string `json:"outpost_arn,omitempty"`
	SnapshotID               *string `json:"snapshot_id,omitempty"`
	Throughput               *int32  `json:"throughput,omitempty"`
	VolumeInitializationRate *int32  `json:"volume_initialization_rate,omitempty"`
	VolumeSize               *int32  `json:"volume_size,omitempty"`
	VolumeType               *string `json:"volume_type,omitempty"`
}

// blockDevices reads block_device_map, whose keys are the API's own. A volume
// that does not say otherwise is deleted with its instance: an instance lives
// for a few builds, and nobody would come back for its volumes.
func blockDevices(entries []map[string]any) ([]blockDevice, error) {
	var out []blockDevice
	for i, entry := range entries {
		var d blockDevice
		at := fmt.Sprintf("block_device_map[%d]", i)
		err := setFields(at, entry, map[string]any{
			"DeviceName": &d.DeviceName, "VirtualName": &d.VirtualName, "NoDevice": &d.NoDevice,
			"Ebs": func(v any) error {
				fields, ok := v.(map[string]any)
				if !ok {
					return wrongValue(at+".Ebs", v, "a dictionary")
				}
				e := &ebs{}
				d.EBS = e
				return setFields(at+".Ebs", fields, map[string]any{
					"DeleteOnTermination": &e.DeleteOnTermination, "Encrypted": &e.Encrypted,
					"Iops": &e.IOPS, "KmsKeyId": &e.KMSKeyID, "OutpostArn": &e.OutpostARN,
					"SnapshotId": &e.SnapshotID, "Throughput": &e.Throughput,
					"VolumeInitializationRate": &e.VolumeInitializationRate,
					"VolumeSize":               &e.VolumeSize, "VolumeType": &e.VolumeType,
				})
			},
		})
		if err != nil {
			return nil, err
		}
		if d.DeviceName == nil {
			return nil, dormouse.Errorf(dormouse.Configuration, "%s has no DeviceName, such as \"/dev/sda1\"", at)
		}
		if d.EBS != nil && d.EBS.DeleteOnTermination == nil {
			d.EBS.DeleteOnTermination = new(true)
		}
		out = append(out, d)
	}
	return out, nil
}

// setFields puts the values of m where targets points for their keys.
func setFields(at string, m map[string]any, targets map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		target, known := targets[key]
		if !known {
			return dormouse.Errorf(dormouse.Configuration, "%s: unknown key %q; allowed are %s",
				at, key, strings.Join(slices.Sorted(maps.Keys(targets)), ", "))
		}
		v, name := m[key], at+"."+key
		if v == nil {
			continue // None is as good as not given
		}
		switch target := target.(type) {
		case **string:
			s, ok := v.(string)
			if !ok {
				return wrongValue(name, v, "a string")
			}
			*target = &s
		case **bool:
			b, ok := v.(bool)
			if !ok {
				return wrongValue(name, v, "True or False")
			}
			*target = &b
		case **int32:
			n, ok := wholeNumber(v)
			if !ok {
				return wrongValue(name, v, "a whole number that is not negative")
			}
			*target = &n
		case func(any) error:
			if err := target(v); err != nil {
				return err
			}
		}
	}
	return nil
}

func wrongValue(at string, v any, allowed string) error {
	return dormouse.Errorf(dormouse.Configuration, "%s is %v (%T); it must be %s", at, v, v, allowed)
}

// wholeNumber takes the types in which a number comes from a configuration or
// from JSON.
func wholeNumber(v any) (int32, bool) {
	var n int64
	switch v := v.(type) {
	case int:
		n = int64(v)
	case int32:
		n = int64(v)
	case int64:
		n = v
	case float64:
		if v != math.Trunc(v) || math.Abs(v) > math.MaxInt32 {
			return 0, false
		}
		n = int64(v)
	default:
		return 0, false
	}
	return int32(n), n >= 0 && n <= math.MaxInt32
}

func sdkBlockDevices(devices []blockDevice) []types.BlockDeviceMapping {
	var out []types.BlockDeviceMapping
	for _, d := range devices {
		m := types.BlockDeviceMapping{DeviceName: d.DeviceName, VirtualName: d.VirtualName, NoDevice: d.NoDevice}
		if e := d.EBS; e != nil {
			m.Ebs = &types.EbsBlockDevice{
				DeleteOnTermination:      e.DeleteOnTermination,
				Encrypted:                e.Encrypted,
				Iops:                     e.IOPS,
				KmsKeyId:                 e.KMSKeyID,
				OutpostArn:               e.OutpostARN,
				SnapshotId:               e.SnapshotID,
				Throughput:               e.Throughput,
				VolumeInitializationRate: e.VolumeInitializationRate,
				VolumeSize:               e.VolumeSize,
			}
			if e.VolumeType != nil {
				m.Ebs.VolumeType = types.VolumeType(*e.VolumeType)
			}
		}
		out = append(out, m)
	}
	return out
}
