package ec2_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// TestTemplateAtTheLocalEndpoint: what a launch template says and the spec does
// not, holds.
func TestTemplateAtTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		_, err := simClient(sim).CreateLaunchTemplate(t.Context(), &awsec2.CreateLaunchTemplateInput{
			LaunchTemplateName: aws.String("ci-base"),
			LaunchTemplateData: &types.RequestLaunchTemplateData{
				InstanceType: types.InstanceTypeC5Large, // the spec's own goes before it
				UserData:     aws.String("IyEvYmluL3NoCg=="),
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		spec := simSpec()
		spec.LaunchTemplate = ec2.LaunchTemplate{Name: "ci-base", Version: "$Latest"}
		launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		started, err := a.Launch(t.Context(), launch, "t")
		if err != nil || len(started) != 1 || started[0].InstanceType != "m5.large" {
			t.Fatalf("started %+v, %v", started, err)
		}
		time.Sleep(5 * time.Second)
		if console, err := a.Console(t.Context(), started[0].ID); err != nil || !strings.Contains(console, "booted with #!/bin/sh") {
			t.Errorf("console %q, %v", console, err)
		}
		for _, f := range a.Examine(t.Context(), spec) {
			if f.State == ec2.FindingWrong || f.What == "launch_template" && !strings.Contains(f.Text, "ci-base (lt-") {
				t.Errorf("%+v", f)
			}
		}
		spec.LaunchTemplate.Name = "nothing"
		launch, err = a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Launch(t.Context(), launch, "u")
		if dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(err.Error(), "check launch_template") {
			t.Error(err)
		}
	})
}

// TestParameterAtTheLocalEndpoint: EC2 looks the image up, and says which it is.
func TestParameterAtTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, _ *ec2sim.Server, a *ec2.Account) {
		spec := simSpec()
		spec.AMI, spec.AMISSMParameter = "", ec2sim.ScriptParameter
		for _, f := range a.Examine(t.Context(), spec) {
			if f.State == ec2.FindingWrong {
				t.Errorf("%+v", f)
			}
		}
		launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if started, err := a.Launch(t.Context(), launch, "t"); err != nil || started[0].ImageID != ec2sim.ScriptImageID {
			t.Errorf("started %+v, %v", started, err)
		}
		spec.AMISSMParameter = "/nothing"
		for _, f := range a.Examine(t.Context(), spec) {
			if wrong := f.What == "launch"; wrong != (f.State == ec2.FindingWrong) || wrong && !strings.Contains(f.Text, "/nothing") {
				t.Errorf("%+v", f)
			}
		}
	})
}
