package config

import (
	"fmt"
	"regexp"
	"slices"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// deviceKeys and ebsKeys are the fields of EC2's BlockDeviceMapping and
// EbsBlockDevice, and what each holds.
var (
	deviceKeys = map[string]string{"DeviceName": "string", "VirtualName": "string", "NoDevice": "string", "Ebs": "dict"}
	ebsKeys    = map[string]string{
		"DeleteOnTermination": "bool", "Encrypted": "bool", "Iops": "int", "KmsKeyId": "string",
		"OutpostArn": "string", "SnapshotId": "string", "Throughput": "int", "VolumeSize": "int",
		"VolumeType": "string", "VolumeInitializationRate": "int",
	}
	kinds = map[string]string{"string": "a string", "dict": "a dictionary", "bool": "True or False", "int": "a positive integer"}
)

// maxVolumeSize is the largest of any type, io2's.
const maxVolumeSize = 64 << 10 // GiB

var virtualForm = regexp.MustCompile(`^ephemeral[0-9]+$`)

// readBlockDevices reads mappings as EC2's API has them, and sees to it that
// volumes made for an instance end with it unless they are told not to.
func readBlockDevices(a arguments) []map[string]any {
	f, ok := a.some("block_device_map")
	if !ok {
		return nil
	}
	items, _ := f.items("a list of dictionaries")
	var out []map[string]any
	for i, item := range items {
		item.label = fmt.Sprintf("%s[%d]", f.label, i)
		device, ok := item.fields(deviceKeys)
		if !ok {
			continue
		}
		switch name, named := device["DeviceName"]; {
		case !named:
			if _, wrong, _ := item.v.(*starlark.Dict).Get(starlark.String("DeviceName")); !wrong {
				a.r.errorf(item.at, "", "%s needs a DeviceName", item.label)
			}
		case slices.ContainsFunc(out, func(d map[string]any) bool { return d["DeviceName"] == name }):
			a.r.errorf(item.at, "", "%s: another entry has the DeviceName %s", item.label, quote(fmt.Sprint(name)))
		}
		item.volumeRules(device)
		out = append(out, device)
	}
	return out
}

// deviceForm is a device's name with or without its directory.
var deviceForm = regexp.MustCompile(`^(/dev/)?[a-z][a-z0-9]*$`)

// span is what EC2 allows of a number, ends included; zero where the number can
// not be given at all.
type span struct{ least, most int }

// volumeType is what EC2 allows of a type of volume (EBS user guide, "Amazon EBS
// volume types").
type volumeType struct {
	size, iops, throughput span // GiB, operations a second, MiB a second
	needsIops              bool
}

var volumeTypes = map[string]volumeType{
	"standard": {size: span{1, 1024}},
	"gp2":      {size: span{1, 16384}},
	"gp3":      {size: span{1, 65536}, iops: span{3000, 80000}, throughput: span{125, 2000}},
	"io1":      {size: span{4, 16384}, iops: span{100, 64000}, needsIops: true},
	"io2":      {size: span{4, 65536}, iops: span{100, 256000}, needsIops: true},
	"sc1":      {size: span{125, 16384}},
	"st1":      {size: span{125, 16384}},
}

// volumeRules holds what EC2 asks of a mapping's fields together.
func (f field) volumeRules(device map[string]any) {
	_, devices := f.pairs()
	if name, ok := device["DeviceName"].(string); ok && !deviceForm.MatchString(name) {
		devices["DeviceName"].bad("a device's name, such as '/dev/sdf'")
	}
	if name, ok := device["VirtualName"].(string); ok && !virtualForm.MatchString(name) {
		devices["VirtualName"].bad("an instance store volume's name, such as 'ephemeral0'")
	}
	ebs, ok := device["Ebs"].(map[string]any)
	if !ok {
		return
	}
	if _, given := devices["VirtualName"]; given {
		f.r.errorf(devices["VirtualName"].at, "leave one of them out", "%s is a volume of the instance store (VirtualName) or of EBS (Ebs), not both", f.label)
	}
	_, fields := devices["Ebs"].pairs()
	if id, ok := ebs["SnapshotId"].(string); ok && !validID(id, "snap-") {
		fields["SnapshotId"].bad("an id that begins with snap-")
	}
	if size, ok := ebs["VolumeSize"].(int); ok && size > maxVolumeSize {
		fields["VolumeSize"].bad(fmt.Sprintf("at most %d GiB", maxVolumeSize))
	}
	kind, ok := ebs["VolumeType"].(string)
	if !ok {
		return
	}
	volume, known := volumeTypes[kind]
	if !known {
		fields["VolumeType"].oneOf(sortedKeys(volumeTypes)...)
		return
	}
	if _, given := fields["Iops"]; given && volume.iops == (span{}) {
		f.r.errorf(fields["Iops"].at, "leave it out, or take gp3, io1 or io2", "%s: a volume of type %s has no Iops", devices["Ebs"].label, kind)
	} else if !given && volume.needsIops {
		f.r.errorf(fields["VolumeType"].at, "give Iops, or take gp3", "%s: a volume of type %s needs Iops", devices["Ebs"].label, kind)
	}
	if _, given := fields["Throughput"]; given && volume.throughput == (span{}) {
		f.r.errorf(fields["Throughput"].at, "leave it out, or take gp3", "%s: a volume of type %s has no Throughput", devices["Ebs"].label, kind)
	}
	for name, allowed := range map[string]span{"VolumeSize": volume.size, "Iops": volume.iops, "Throughput": volume.throughput} {
		n, given := ebs[name].(int)
		tooLarge := name == "VolumeSize" && n > maxVolumeSize // said already
		if given && allowed != (span{}) && !tooLarge && (n < allowed.least || n > allowed.most) {
			fields[name].bad(fmt.Sprintf("from %d to %d for a volume of type %s", allowed.least, allowed.most, kind))
		}
	}
}

// fields reads a dictionary with known keys, each of a known kind.
func (f field) fields(known map[string]string) (map[string]any, bool) {
	if _, ok := f.v.(*starlark.Dict); !ok {
		f.bad("a dictionary")
		return nil, false
	}
	names, values := f.pairs()
	out := make(map[string]any, len(names))
	for _, name := range names {
		v := values[name]
		kind, ok := known[name]
		if !ok {
			f.r.errorf(f.keyAt(name), dialect.DidYouMean(name, sortedKeys(known)), "%s has no key %s", f.label, quote(name))
			continue
		}
		n, isInt := v.v.(starlark.Int)
		if v.v.Type() != kind || isInt && n.Sign() <= 0 {
			v.bad(kinds[kind])
			continue
		}
		if kind == "dict" {
			ebs, _ := v.fields(ebsKeys)
			if _, given := ebs["DeleteOnTermination"]; !given {
				ebs["DeleteOnTermination"] = true
			}
			out[name] = ebs
			continue
		}
		out[name], _ = v.data(false)
	}
	return out, true
}

func readVolumes(a arguments) []Volume {
	f, ok := a.some("volumes")
	if !ok {
		return nil
	}
	items, _ := f.items("a list of (volume id, device) pairs")
	var volumes []Volume
	for _, item := range items {
		pair, ok := item.items("a (volume id, device) pair")
		if !ok {
			continue
		}
		if len(pair) != 2 {
			a.r.errorf(item.at, "", "%s must be (volume id, device) pairs, not %d values", f.label, len(pair))
			continue
		}
		id, okID := pair[0].text()
		device, okDevice := pair[1].text()
		if okID && !validID(id, "vol-") {
			pair[0].bad("an id that begins with vol-")
		}
		if okDevice && !deviceForm.MatchString(device) {
			pair[1].bad("a device's name, such as '/dev/sdf'")
		}
		v := Volume{id, device}
		if okID && okDevice && slices.ContainsFunc(volumes, func(w Volume) bool { return w.ID == v.ID || w.Device == v.Device }) {
			a.r.errorf(item.at, "", "%s: %s or %s is there twice", f.label, quote(id), quote(device))
		}
		volumes = append(volumes, v)
	}
	return volumes
}

// checkDevices holds that no device is given away twice.
func checkDevices(a arguments, e *EC2LatentWorker) {
	for i, v := range e.Volumes {
		if slices.ContainsFunc(e.BlockDeviceMap, func(d map[string]any) bool { return d["DeviceName"] == v.Device }) {
			f, _ := a.field("volumes")
			a.r.errorf(f.at.Item(i, len(e.Volumes)), "", "%s: block_device_map has the device %s, too", f.label, quote(v.Device))
		}
	}
}
