package ec2

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

func TestVolumeRules(t *testing.T) {
	const (
		attaching = types.VolumeAttachmentStateAttaching
		attached  = types.VolumeAttachmentStateAttached
		detaching = types.VolumeAttachmentStateDetaching
		detached  = types.VolumeAttachmentStateDetached
	)
	with := func(v volume, instance, device string, state types.VolumeAttachmentState) volume {
		v.attachments = append(v.attachments, attachment{instance, device, state})
		return v
	}
	available := volume{id: "vol-1", state: types.VolumeStateAvailable}
	used := volume{id: "vol-1", state: types.VolumeStateInUse}
	shared := volume{id: "vol-1", state: types.VolumeStateInUse, shared: true}
	tests := []struct {
		name string
		v    volume
		step volumeStep // for /dev/sdh of i-1
		says string     // of the error
		why  string     // it is not free
		bad  bool       // it never will be free
	}{
		{name: "available", v: available, step: volumeIsToBeAttached},
		{name: "being attached", v: with(used, "i-1", "/dev/sdh", attaching), step: volumeWaits, why: "volume vol-1 is held by instance i-1 (attaching)"},
		{name: "attached", v: with(used, "i-1", "/dev/sdh", attached), step: volumeIsAttached, why: "volume vol-1 is held by instance i-1 (attached)"},
		{name: "attached elsewhere", v: with(used, "i-1", "/dev/sdf", attached), says: "as /dev/sdf, and not as /dev/sdh", why: "attached"},
		{name: "on its way off", v: with(used, "i-1", "/dev/sdf", detaching), step: volumeWaits, why: "detaching"},
		{name: "of another", v: with(used, "i-2", "/dev/sdh", attached), says: "in use by instance i-2", why: "held by instance i-2"},
		{name: "going to another", v: with(used, "i-2", "/dev/sdh", attaching), says: "in use by instance i-2", why: "i-2"},
		{name: "leaving another", v: with(used, "i-2", "/dev/sdh", detaching), step: volumeWaits, why: "volume vol-1 is held by instance i-2 (detaching)"},
		{name: "has left another", v: with(available, "i-2", "/dev/sdh", detached), step: volumeIsToBeAttached},
		{name: "in use, by nobody yet", v: used, step: volumeWaits, why: "volume vol-1 is in-use"},
		{name: "being made", v: volume{id: "vol-1", state: types.VolumeStateCreating}, step: volumeWaits, why: "volume vol-1 is creating"},
		{name: "broken", v: volume{id: "vol-1", state: types.VolumeStateError}, says: `its state is "error"`, bad: true},
		{name: "deleted", v: volume{id: "vol-1", state: types.VolumeStateDeleting}, says: "deleting", bad: true},
		{name: "shared", v: with(shared, "i-2", "/dev/sdh", attached), step: volumeIsToBeAttached},
		{name: "shared, and here", v: with(with(shared, "i-2", "/dev/sdh", attached), "i-1", "/dev/sdh", attached), step: volumeIsAttached},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code := dormouse.Code("")
			if tt.says != "" {
				code = dormouse.Configuration
			}
			step, err := nextForVolume(tt.v, "/dev/sdh", "i-1")
			wantCode(t, err, code, tt.says)
			if step != tt.step {
				t.Errorf("step is %v, want %v", step, tt.step)
			}
			why, err := freeVolume(tt.v, "/dev/sdh")
			if (err != nil) != tt.bad || (why == "") != (tt.why == "") || !contains(why, tt.why) {
				t.Errorf("free: %q, %v; want %q, error %v", why, err, tt.why, tt.bad)
			}
		})
	}
}

func TestAddressRules(t *testing.T) {
	tests := []struct {
		name      string
		ad        address
		associate bool
		says      string
	}{
		{"free", address{ip: "203.0.113.1"}, true, ""},
		{"ours", address{ip: "203.0.113.1", instance: "i-1", association: "a"}, false, ""},
		{"another's", address{ip: "203.0.113.1", instance: "i-2", association: "a"}, false, "address 203.0.113.1 is taken by instance i-2"},
		{"a gateway's", address{ip: "203.0.113.1", netInterface: "eni-1", association: "a"}, false, "taken by network interface eni-1"},
		{"somebody's", address{ip: "203.0.113.1", association: "eipassoc-1"}, false, "taken by association eipassoc-1"},
	}
	for _, tt := range tests {
		associate, err := nextForAddress(tt.ad, "i-1")
		code := dormouse.Code("")
		if tt.says != "" {
			code = dormouse.Configuration
		}
		wantCode(t, err, code, tt.says)
		if associate != tt.associate {
			t.Errorf("%s: associate is %v", tt.name, associate)
		}
	}
}
