package ec2

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func (x *examination) launchTemplate(ctx context.Context) {
	const what = "launch_template"
	t := x.spec.LaunchTemplate
	if t == (LaunchTemplate{}) {
		return
	}
	out, err := call(ctx, x.a, action{name: "DescribeLaunchTemplateVersions"}, x.a.api.describeTemplate,
		&ec2.DescribeLaunchTemplateVersionsInput{
			LaunchTemplateId: optional(t.ID), LaunchTemplateName: optional(t.Name),
			Versions: []string{cmp.Or(t.Version, "$Default")},
		})
	if err != nil {
		x.failed(what, err, false)
		return
	}
	if len(out.LaunchTemplateVersions) == 0 {
		x.add(what, FindingWrong, "%s has no version %s", cmp.Or(t.ID, t.Name), cmp.Or(t.Version, "$Default"))
		return
	}
	v := out.LaunchTemplateVersions[0]
	x.add(what, FindingOK, "%s (%s), version %d", deref(v.LaunchTemplateName), deref(v.LaunchTemplateId), deref(v.VersionNumber))
	if v.LaunchTemplateData != nil {
		if namesInterfaces(*v.LaunchTemplateData) {
			x.a.interfaced.Store(template(t), true)
		}
		x.findings = append(x.findings, templateFindings(x.spec, *v.LaunchTemplateData)...)
	}
}

// namesInterfaces reports whether instances of a template have network interfaces
// that exist, and no other.
func namesInterfaces(d types.ResponseLaunchTemplateData) bool {
	return len(d.NetworkInterfaces) > 0 && !slices.ContainsFunc(d.NetworkInterfaces, func(i types.LaunchTemplateInstanceNetworkInterfaceSpecification) bool {
		return deref(i.NetworkInterfaceId) == ""
	})
}

// templateFindings are what a launch template says that a worker's launches cannot
// have, or that it is not known what EC2 makes of.
func templateFindings(spec LaunchSpec, d types.ResponseLaunchTemplateData) (findings []Finding) {
	add := func(state FindingState, format string, args ...any) {
		findings = append(findings, Finding{What: "launch_template", State: state, Text: fmt.Sprintf(format, args...)})
	}
	if len(d.NetworkInterfaces) > 0 {
		if beside := spec.network(); len(beside) > 0 {
			add(FindingWrong, "it has a network interface, which names subnet and groups itself, and EC2 refuses %s beside it: leave that out, "+
				"or take the interface out of the template and give associate_public_ip_address", strings.Join(beside, ", "))
		}
		if id := deref(d.NetworkInterfaces[0].NetworkInterfaceId); id != "" {
			add(FindingWarning, "it names the network interface %s, which one instance has at a time, and which a launch does not tag", id)
		}
	}
	if deref(d.DisableApiTermination) {
		add(FindingWrong, "it protects instances against termination (DisableApiTermination), so that none could be ended: switch that off in the template")
	}
	if m := d.InstanceMarketOptions; m != nil {
		switch {
		case m.MarketType == types.MarketTypeSpot && (!spec.SpotInstance || spec.FallbackToOnDemand):
			add(FindingWrong, "it asks for the spot market, also where this worker is to be bought on demand: take InstanceMarketOptions out of it, spot_instance says the same")
		case m.MarketType == types.MarketTypeSpot:
			add(FindingWarning, "its spot options stand beside this worker's own: take InstanceMarketOptions out of it, spot_instance and max_spot_price say the same")
		case spec.SpotInstance:
			add(FindingWrong, "it asks for the market %s, and spot_instance for another: take InstanceMarketOptions out of it, or leave spot_instance out", m.MarketType)
		}
	}
	if h := d.HibernationOptions; h != nil && deref(h.Configured) {
		add(FindingWarning, "it prepares instances for hibernation, which EC2 refuses without an encrypted root volume, and which none of them will do: "+
			"an instance is terminated, never hibernated")
	}
	if both := spec.saysToo(d); len(both) > 0 {
		add(FindingWarning, "it has %s, and so has this worker's launch: AWS does not say whether EC2 joins the two or takes the launch's alone; say all of it in one place",
			strings.Join(both, ", "))
	}
	return findings
}

// network are the options that say where an instance is connected.
func (s LaunchSpec) network() (given []string) {
	for name, is := range map[string]bool{
		"associate_public_ip_address": s.AssociatePublicIPAddress != nil,
		"security_group_ids":          len(s.SecurityGroupIDs) > 0,
		"security_name":               s.SecurityName != "",
		"subnet_id":                   len(s.SubnetIDs) > 0,
	} {
		if is {
			given = append(given, name)
		}
	}
	slices.Sort(given)
	return given
}

// saysToo are the parts of a launch template of which each launch has some, too.
func (s LaunchSpec) saysToo(d types.ResponseLaunchTemplateData) (parts []string) {
	if len(d.TagSpecifications) > 0 {
		parts = append(parts, "tags")
	}
	if len(d.BlockDeviceMappings) > 0 && len(s.BlockDeviceMap) > 0 {
		parts = append(parts, "block devices")
	}
	if m := d.MetadataOptions; m != nil && (m.HttpPutResponseHopLimit != nil || m.InstanceMetadataTags != "" || m.HttpProtocolIpv6 != "") {
		parts = append(parts, "metadata options")
	}
	if p := d.Placement; p != nil && s.Placement != "" && (deref(p.GroupName) != "" || deref(p.GroupId) != "" || deref(p.HostId) != "" || p.Tenancy != "") {
		parts = append(parts, "a placement")
	}
	return parts
}
