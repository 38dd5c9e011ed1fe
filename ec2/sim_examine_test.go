package ec2_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// findings are the states and texts of an examination about one thing.
func findings(t *testing.T, a *ec2.Account, spec ec2.LaunchSpec, what string) (out []string) {
	t.Helper()
	for _, f := range a.Examine(t.Context(), spec) {
		if f.What == what {
			out = append(out, string(f.State)+" "+f.Text)
		}
	}
	return out
}

// TestATemplateIsRead: what it says that a worker cannot have is found before it
// costs anything, also where EC2 allows the launch.
func TestATemplateIsRead(t *testing.T) {
	inSim(t, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		client := simClient(sim)
		usual := simSpec()
		if _, err := a.Render(t.Context(), usual, usual.Offerings()[0], 1, nil, nil); err != nil { // it makes the group
			t.Fatal(err)
		}
		for name, data := range map[string]types.RequestLaunchTemplateData{
			"interface": {NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{{
				DeviceIndex: aws.Int32(0), AssociatePublicIpAddress: aws.Bool(true),
			}}},
			"protected":   {DisableApiTermination: aws.Bool(true)},
			"market":      {InstanceMarketOptions: &types.LaunchTemplateInstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}},
			"hibernation": {HibernationOptions: &types.LaunchTemplateHibernationOptionsRequest{Configured: aws.Bool(true)}},
			"tags": {TagSpecifications: []types.LaunchTemplateTagSpecificationRequest{{
				ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}},
			}}},
			"hops": {MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{HttpPutResponseHopLimit: aws.Int32(2)}},
		} {
			if _, err := client.CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{LaunchTemplateName: aws.String("ci-" + name), LaunchTemplateData: &data}); err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range map[string]string{
			"interface": "wrong it has a network interface", "protected": "wrong it protects", "market": "wrong it asks for the spot market",
			"hibernation": "warning it prepares", "tags": "warning it has tags", "hops": "warning it has metadata options",
		} {
			spec := simSpec()
			spec.LaunchTemplate = ec2.LaunchTemplate{Name: "ci-" + name}
			got := findings(t, a, spec, "launch_template")
			if len(got) != 2 || !strings.HasPrefix(got[1], want) {
				t.Errorf("%s: %q", name, got)
			}
			refused := strings.HasPrefix(findings(t, a, spec, "launch")[0], "wrong")
			if want := name == "interface" || name == "hibernation"; refused != want {
				t.Errorf("%s: the endpoint refuses the launch: %v", name, refused)
			}
		}
		spec := simSpec()
		spec.LaunchTemplate = ec2.LaunchTemplate{Name: "ci-protected"}
		launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		started, err := a.Launch(t.Context(), launch, "t")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the bubble's
		failed, _ := a.Terminate(t.Context(), []string{started[0].ID})
		if err := failed[started[0].ID]; dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(err.Error(), "disableApiTermination") {
			t.Errorf("its end: %v", err)
		}
	})
}

// TestQuotasAreAsked: a dry run is allowed where the account has no room for one
// instance, and Service Quotas tells.
func TestQuotasAreAsked(t *testing.T) {
	standard, spot := dormouse.QuotaCode(dormouse.OnDemand, "Standard"), dormouse.QuotaCode(dormouse.Spot, "Standard")
	for name, tt := range map[string]struct {
		quotas map[string]int
		spec   func(*ec2.LaunchSpec)
		want   []string // what the findings begin with
	}{
		"room":    {map[string]int{standard: 5}, nil, []string{"ok Standard on-demand: 5 vCPUs (" + standard + "), which is room for 2 of m5.large"}},
		"no room": {map[string]int{standard: 1}, nil, []string{"wrong Standard on-demand: 1 vCPUs (" + standard + "), and m5.large has 2"}},
		"none on the spot, some on demand": {
			map[string]int{standard: 8, spot: 0},
			func(s *ec2.LaunchSpec) { s.SpotInstance, s.FallbackToOnDemand, s.MaxSpotPrice = true, true, new(1.0) },
			[]string{"warning Standard spot: 0 vCPUs", "ok Standard on-demand: 8 vCPUs"},
		},
		"for the smaller type alone": {
			map[string]int{standard: 2},
			func(s *ec2.LaunchSpec) { s.InstanceTypes = []string{"m5.xlarge", "m5.large"} },
			[]string{"warning Standard on-demand: 2 vCPUs (" + standard + "), and m5.xlarge has 4", "ok Standard on-demand: 2 vCPUs (" + standard + "), which is room for 1"},
		},
		"nobody set any": {nil, nil, []string{"ok Standard on-demand: "}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, err := ec2sim.New(ec2sim.Options{Boot: quiet, VCPUQuotas: tt.quotas})
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := sim.Close(context.Background()); err != nil {
						t.Error(err)
					}
				}()
				a := openSim(t, "http://ec2.test", sim, ec2sim.DefaultSecretAccessKey, "d1")
				spec := simSpec()
				if tt.spec != nil {
					tt.spec(&spec)
				}
				got := findings(t, a, spec, "quota")
				if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
					t.Errorf("found %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// TestAQuotaIsHeldTo: what the endpoint tells of its quotas it refuses launches by,
// each market by its own, with EC2's codes.
func TestAQuotaIsHeldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, err := ec2sim.New(ec2sim.Options{Boot: quiet, VCPUQuotas: map[string]int{
			dormouse.QuotaCode(dormouse.OnDemand, "Standard"): 4, dormouse.QuotaCode(dormouse.Spot, "Standard"): 2,
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := sim.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		a := openSim(t, "http://ec2.test", sim, ec2sim.DefaultSecretAccessKey, "d1")
		launch := func(spot bool, count int, token string) error {
			spec := simSpec() // of 2 vCPUs
			spec.SpotInstance, spec.MaxSpotPrice = spot, new(1.0)
			bytes, err := a.Render(t.Context(), spec, spec.Offerings()[0], count, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Launch(t.Context(), bytes, token)
			return err
		}
		for i, tt := range []struct {
			spot  bool
			count int
			want  string
		}{{false, 3, "VcpuLimitExceeded"}, {false, 1, ""}, {false, 2, "VcpuLimitExceeded"}, {false, 1, ""}, {true, 2, "MaxSpotInstanceCountExceeded"}, {true, 1, ""}} {
			err := launch(tt.spot, tt.count, ec2.Token("d", "1", i))
			if tt.want == "" && err != nil || tt.want != "" && (dormouse.CodeOf(err) != dormouse.Quota || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%d, spot %v: %v", tt.count, tt.spot, err)
			}
		}
	})
}
