package ec2

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// types finds out whether the instance types exist in the region, and whether the
// image can run on each of them: EC2 says so at a launch only, and there one type
// that does not fit keeps the others from being tried.
func (x *examination) types(ctx context.Context) {
	const what = "instance_type"
	known, err := x.a.instanceTypes(ctx, x.spec.InstanceTypes)
	if err != nil {
		x.failed(what, err, false)
		return
	}
	x.known = known
	var good, missing []string
	for _, name := range x.spec.InstanceTypes {
		info, exists := known[name]
		if !exists {
			missing = append(missing, name)
			continue
		}
		if why := misfit(x.chosen, info); why != "" {
			x.add(what, FindingWrong, "%s cannot run %s: %s", name, imageName(x.chosen), why)
			continue
		}
		if x.spec.SpotInstance && len(info.SupportedUsageClasses) > 0 && !slices.Contains(info.SupportedUsageClasses, types.UsageClassTypeSpot) {
			if x.spec.FallbackToOnDemand {
				x.add(what, FindingWarning, "%s is not sold on the spot; it is bought on demand", name)
			} else {
				x.add(what, FindingWrong, "%s is not sold on the spot: name another type, or allow fallback_to_on_demand", name)
			}
			continue
		}
		good = append(good, name)
	}
	if len(missing) > 0 {
		x.add(what, FindingWrong, "%s: there is no such type in %s", strings.Join(missing, ", "), x.a.region)
	}
	if len(good) > 0 {
		text := strings.Join(good, ", ")
		if x.chosen.Architecture != "" {
			text += ": " + x.chosen.Architecture + ", as the image"
		}
		x.add(what, FindingOK, "%s", text)
	}
}

// instanceTypes are what EC2 knows of types, by their names.
func (a *Account) instanceTypes(ctx context.Context, names []string) (map[string]types.InstanceTypeInfo, error) {
	known := map[string]types.InstanceTypeInfo{}
	// By a filter: a list of names is refused for one that does not exist.
	in := &ec2.DescribeInstanceTypesInput{Filters: byID("instance-type", names)}
	for {
		out, err := call(ctx, a, action{name: "DescribeInstanceTypes"}, a.api.describeInstanceTypes, in)
		if err != nil {
			return nil, err
		}
		for _, t := range out.InstanceTypes {
			known[string(t.InstanceType)] = t
		}
		if in.NextToken = out.NextToken; deref(in.NextToken) == "" {
			return known, nil
		}
	}
}

// misfit says why an image cannot run on a type, "" where nothing is known against
// it.
func misfit(i Image, t types.InstanceTypeInfo) string {
	var architectures []types.ArchitectureType
	if p := t.ProcessorInfo; p != nil {
		architectures = p.SupportedArchitectures
	}
	if why := lacks("architecture", i.Architecture, architectures); why != "" {
		return why
	}
	if why := lacks("virtualization type", i.Virtualization, t.SupportedVirtualizationTypes); why != "" {
		return why
	}
	if why := lacks("root device type", i.RootDeviceType, t.SupportedRootDeviceTypes); why != "" {
		return why
	}
	if i.BootMode == "uefi" || i.BootMode == "legacy-bios" { // "uefi-preferred" takes either
		if why := lacks("boot mode", i.BootMode, t.SupportedBootModes); why != "" {
			return why
		}
	}
	if n := t.NetworkInfo; n != nil && n.EnaSupport == types.EnaSupportRequired && i.ID != "" && !i.ENA {
		return "the type needs the driver of the Elastic Network Adapter, and the image has not enabled it"
	}
	return ""
}

func lacks[T ~string](what, has string, takes []T) string {
	if has == "" || len(takes) == 0 || slices.Contains(takes, T(has)) {
		return ""
	}
	names := make([]string, len(takes))
	for i, t := range takes {
		names[i] = string(t)
	}
	return fmt.Sprintf("the image's %s is %s, and the type takes %s", what, has, strings.Join(names, " and "))
}
