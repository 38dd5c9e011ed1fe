package ec2

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestMisfit: an image runs where its architecture, virtualization, root device and
// boot mode are taken, and the network driver is there that the type needs; what EC2
// does not say counts for nothing.
func TestMisfit(t *testing.T) {
	nitro := types.InstanceTypeInfo{
		ProcessorInfo:                &types.ProcessorInfo{SupportedArchitectures: []types.ArchitectureType{"x86_64"}},
		SupportedVirtualizationTypes: []types.VirtualizationType{"hvm"},
		SupportedRootDeviceTypes:     []types.RootDeviceType{"ebs"},
		SupportedBootModes:           []types.BootModeType{"legacy-bios", "uefi"},
		NetworkInfo:                  &types.NetworkInfo{EnaSupport: types.EnaSupportRequired},
	}
	old := types.InstanceTypeInfo{
		ProcessorInfo:      &types.ProcessorInfo{SupportedArchitectures: []types.ArchitectureType{"i386", "x86_64"}},
		SupportedBootModes: []types.BootModeType{"legacy-bios"},
	}
	good := Image{ID: "ami-1", Architecture: "x86_64", Virtualization: "hvm", RootDeviceType: "ebs", BootMode: "uefi", ENA: true}
	with := func(change func(*Image)) Image { i := good; change(&i); return i }
	for _, tt := range []struct {
		name  string
		image Image
		on    types.InstanceTypeInfo
		want  string
	}{
		{"fits", good, nitro, ""},
		{"arm", with(func(i *Image) { i.Architecture = "arm64" }), nitro, "architecture is arm64, and the type takes x86_64"},
		{"paravirtual", with(func(i *Image) { i.Virtualization = "paravirtual" }), nitro, "virtualization type is paravirtual"},
		{"instance store", with(func(i *Image) { i.RootDeviceType = "instance-store" }), nitro, "root device type is instance-store"},
		{"no ENA", with(func(i *Image) { i.ENA = false }), nitro, "Elastic Network Adapter"},
		{"uefi", good, old, "boot mode is uefi, and the type takes legacy-bios"},
		{"uefi preferred", with(func(i *Image) { i.BootMode = "uefi-preferred" }), old, ""},
		{"an image that is not known", Image{}, nitro, ""},
		{"a type of which nothing is known", good, types.InstanceTypeInfo{}, ""},
	} {
		if got := misfit(tt.image, tt.on); got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
