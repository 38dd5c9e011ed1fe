package ec2_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// misbehave has the endpoint play one rule.
func misbehave(t *testing.T, sim *ec2sim.Server, rule string) {
	t.Helper()
	scenario, err := ec2sim.ParseScenario([]byte(`{"rules": [` + rule + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	sim.SetScenario(scenario)
}

// TestAnImageThatIsNotOurs: the code that says so is that of wrong credentials, but
// the request was read, and the image is looked at again before the next start.
func TestAnImageThatIsNotOurs(t *testing.T) {
	inSim(t, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		spec := simSpec()
		render := func() []byte {
			launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return launch
		}
		launch := render()
		looks := sim.Ledger().Calls["DescribeImages"]
		if render(); sim.Ledger().Calls["DescribeImages"] != looks {
			t.Error("the image is looked up again at each start")
		}
		misbehave(t, sim, `{"name": "private", "when": {"action": "RunInstances"}, "do": {"fail":
			{"code": "AuthFailure", "message": "Not authorized for images: [ami-0123456789abcdef0]", "status": 403}}}`)
		_, err := a.Launch(t.Context(), launch, "t")
		if !ec2.Settled(err) || dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(err.Error(), "check ami") ||
			strings.Contains(err.Error(), "secret_identifier") {
			t.Error(err)
		}
		if render(); sim.Ledger().Calls["DescribeImages"] != looks+1 {
			t.Error("the image was not looked up again")
		}
		misbehave(t, sim, `{"name": "keys", "when": {"action": "RunInstances"}, "do": {"fail":
			{"code": "AuthFailure", "message": "AWS was not able to validate the provided access credentials", "status": 401}}}`)
		_, err = a.Launch(t.Context(), launch, "t")
		if ec2.Settled(err) || !strings.Contains(err.Error(), "secret_identifier") {
			t.Error(err)
		}
		if render(); sim.Ledger().Calls["DescribeImages"] != looks+1 {
			t.Error("the image was looked up again for wrong keys")
		}
	})
}

// TestInstancesThatEndAsTheyAreLaunched say what to do about it.
func TestInstancesThatEndAsTheyAreLaunched(t *testing.T) {
	inSim(t, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		for code, hint := range map[string]string{
			"Client.InternalError": "kms:CreateGrant", "Client.InvalidSnapshot.NotFound": "block_device_map",
			"Client.VolumeLimitExceeded": "higher limit of EBS", "Server.InternalError": "EC2's own",
		} {
			misbehave(t, sim, `{"name": "dies", "do": {"die": {"while": "pending", "after": "1s", "code": "`+code+`", "message": "on launch"}}}`)
			spec := simSpec()
			launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			started, err := a.Launch(t.Context(), launch, code)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(90 * time.Second) // the bubble's
			all, err := a.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, i := range all {
				if i.ID != started[0].ID {
					continue
				}
				if found = true; !strings.HasPrefix(i.StateReason, code+": ") || !strings.Contains(i.StateReason, hint) {
					t.Errorf("%s: %s", code, i.StateReason)
				}
			}
			if !found {
				t.Errorf("%s: the instance is not listed", code)
			}
		}
	})
}

// TestWhatIsGoneIsGone: to let go of what nothing holds is to find it gone.
func TestWhatIsGoneIsGone(t *testing.T) {
	inSim(t, func(t *testing.T, _ *ec2sim.Server, a *ec2.Account) {
		for kind, handle := range map[dormouse.LeftoverKind]string{
			dormouse.LeftoverAddress: "eipassoc-0123456789abcdef0", dormouse.LeftoverSpotRequest: "sir-01234567",
		} {
			if err := a.LetGo(t.Context(), kind, handle); dormouse.CodeOf(err) != dormouse.NotFound {
				t.Errorf("%s: %v", kind, err)
			}
		}
	})
}

// TestPublicAddressAtTheLocalEndpoint: the option decides, whatever the subnet says,
// and does not get in the way of groups, subnets and several instances.
func TestPublicAddressAtTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		subnets, err := simClient(sim).DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{})
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(*ec2.LaunchSpec){
			"group by name": func(*ec2.LaunchSpec) {},
			"subnet": func(s *ec2.LaunchSpec) {
				s.SecurityName, s.Placement, s.SubnetIDs = "", "", []string{*subnets.Subnets[0].SubnetId}
			},
			"spot": func(s *ec2.LaunchSpec) { s.SpotInstance, s.MaxSpotPrice = true, new(1.0) },
		} {
			for _, public := range []bool{true, false} {
				spec := simSpec()
				spec.AssociatePublicIPAddress = &public
				change(&spec)
				launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 2, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				started, err := a.Launch(t.Context(), launch, fmt.Sprint(name, public))
				if err != nil || len(started) != 2 {
					t.Fatalf("%s: started %v, %v", name, started, err)
				}
				time.Sleep(time.Minute) // the bubble's
				all, err := a.List(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range all {
					if (i.ID == started[0].ID || i.ID == started[1].ID) && (i.PublicIP != "") != public {
						t.Errorf("%s: public %v, and it is at %q", name, public, i.PublicIP)
					}
				}
				for _, f := range a.Examine(t.Context(), spec) {
					if f.State == ec2.FindingWrong {
						t.Errorf("%s: %+v", name, f)
					}
				}
			}
		}
	})
}
