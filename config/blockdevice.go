package config

import (
	"fmt"

	"go.starlark.net/starlark"
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

// blockDevices reads mappings as EC2's API has them, and sees to it that
// volumes made for an instance end with it unless they are told not to.
func (a arguments) blockDevices() []map[string]any {
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
		if _, named, _ := item.v.(*starlark.Dict).Get(starlark.String("DeviceName")); !named {
			a.r.errorf(item.at, "", "%s needs a DeviceName", item.label)
		}
		out = append(out, device)
	}
	return out
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
			f.r.errorf(f.keyAt(name), didYouMean(name, sortedKeys(known)), "%s has no key %s", f.label, quote(name))
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
