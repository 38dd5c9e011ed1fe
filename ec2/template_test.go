package ec2

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TestTemplateFindings: what a template says is held against the worker that it is
// for.
func TestTemplateFindings(t *testing.T) {
	t.Parallel()
	type data = types.ResponseLaunchTemplateData
	spot := LaunchSpec{SpotInstance: true}
	interfaces := data{NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecification{{SubnetId: new("subnet-1")}}}
	market := func(m types.MarketType) data {
		return data{InstanceMarketOptions: &types.LaunchTemplateInstanceMarketOptions{MarketType: m}}
	}
	for name, tt := range map[string]struct {
		spec LaunchSpec
		data data
		want string // the states and a part of each text, in order
	}{
		"nothing":                      {spot, data{InstanceType: "m5.large", UserData: new("x"), DisableApiTermination: new(false)}, ""},
		"an interface alone":           {LaunchSpec{}, interfaces, ""},
		"an interface beside a subnet": {LaunchSpec{SubnetIDs: []string{"s"}, SecurityGroupIDs: []string{"g"}}, interfaces, "wrong security_group_ids, subnet_id"},
		"an interface beside a group":  {LaunchSpec{SecurityName: "g"}, interfaces, "wrong security_name"},
		"an interface beside our own":  {LaunchSpec{AssociatePublicIPAddress: new(false)}, interfaces, "wrong associate_public_ip_address"},
		"an interface that exists":     {LaunchSpec{}, data{NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecification{{NetworkInterfaceId: new("eni-1")}}}, "warning eni-1"},
		"protected":                    {LaunchSpec{}, data{DisableApiTermination: new(true)}, "wrong none could be ended"},
		"spot and on demand":           {LaunchSpec{}, market(types.MarketTypeSpot), "wrong on demand"},
		"spot and either":              {LaunchSpec{SpotInstance: true, FallbackToOnDemand: true}, market(types.MarketTypeSpot), "wrong on demand"},
		"spot twice":                   {spot, market(types.MarketTypeSpot), "warning say the same"},
		"a capacity block and spot":    {spot, market(types.MarketTypeCapacityBlock), "wrong capacity-block"},
		"a capacity block":             {LaunchSpec{}, market(types.MarketTypeCapacityBlock), ""},
		"hibernation":                  {LaunchSpec{}, data{HibernationOptions: &types.LaunchTemplateHibernationOptions{Configured: new(true)}}, "warning never hibernated"},
		"tags":                         {LaunchSpec{}, data{TagSpecifications: []types.LaunchTemplateTagSpecification{{ResourceType: "instance"}}}, "warning has tags, and so"},
		"devices":                      {LaunchSpec{}, data{BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMapping{{}}}, ""},
		"devices twice":                {LaunchSpec{BlockDeviceMap: []map[string]any{{}}}, data{BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMapping{{}}}, "warning block devices"},
		"session tokens":               {LaunchSpec{}, data{MetadataOptions: &types.LaunchTemplateInstanceMetadataOptions{HttpTokens: "required"}}, ""},
		"hops":                         {LaunchSpec{}, data{MetadataOptions: &types.LaunchTemplateInstanceMetadataOptions{HttpPutResponseHopLimit: new(int32(2))}}, "warning metadata options"},
		"tenancy beside a placement":   {LaunchSpec{Placement: "a"}, data{Placement: &types.LaunchTemplatePlacement{Tenancy: types.TenancyDedicated}}, "warning a placement"},
		"tenancy":                      {LaunchSpec{}, data{Placement: &types.LaunchTemplatePlacement{Tenancy: types.TenancyDedicated}}, ""},
	} {
		var got []string
		for _, f := range templateFindings(tt.spec, tt.data) {
			if f.What != "launch_template" || !strings.Contains(f.Text, tt.want[strings.Index(tt.want, " ")+1:]) {
				t.Errorf("%s: %s", name, f.Text)
			}
			got = append(got, string(f.State))
		}
		if want, _, _ := strings.Cut(tt.want, " "); strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %q", name, got, want)
		}
	}
}
