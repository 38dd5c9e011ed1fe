package ec2sim

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestLaunchTemplate(t *testing.T) {
	client := newClient(newServer(t, Options{}))
	made, err := client.CreateLaunchTemplate(t.Context(), &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("builder"),
		LaunchTemplateData: &types.RequestLaunchTemplateData{
			ImageId: aws.String(resolveSSM + ScriptParameter), InstanceType: types.InstanceTypeM5Large,
			Placement:        &types.LaunchTemplatePlacementRequest{AvailabilityZone: aws.String("us-east-1b")},
			SecurityGroupIds: []string{DefaultSecurityGroup("us-east-1")},
			TagSpecifications: []types.LaunchTemplateTagSpecificationRequest{{
				ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("from"), Value: aws.String("template")}},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := made.LaunchTemplate.LaunchTemplateId
	launch := func(change func(*ec2.RunInstancesInput)) (*ec2.RunInstancesOutput, error) {
		in := &ec2.RunInstancesInput{
			MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateName: aws.String("builder"), Version: aws.String("$Latest")},
		}
		change(in)
		return client.RunInstances(t.Context(), in)
	}
	out, err := launch(func(*ec2.RunInstancesInput) {})
	if err != nil {
		t.Fatal(err)
	}
	if inst := out.Instances[0]; *inst.ImageId != ScriptImageID || inst.InstanceType != types.InstanceTypeM5Large ||
		*inst.Placement.AvailabilityZone != "us-east-1b" || len(inst.Tags) != 1 {
		t.Errorf("the template launched %+v", inst)
	}
	out, err = launch(func(in *ec2.RunInstancesInput) {
		in.InstanceType, in.SecurityGroups = types.InstanceTypeT3Nano, []string{"default"}
		in.Placement = &types.Placement{Tenancy: types.TenancyDefault}
		in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateId: id}
	})
	if err != nil {
		t.Fatal(err)
	}
	if inst := out.Instances[0]; inst.InstanceType != types.InstanceTypeT3Nano || *inst.Placement.AvailabilityZone != "us-east-1b" {
		t.Errorf("the request over the template launched %+v", inst)
	}
	versions, err := client.DescribeLaunchTemplateVersions(t.Context(), &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: id, Versions: []string{"$Default"},
	})
	if err != nil || len(versions.LaunchTemplateVersions) != 1 || versions.LaunchTemplateVersions[0].LaunchTemplateData.InstanceType != types.InstanceTypeM5Large {
		t.Errorf("versions %+v, %v", versions, err)
	}
	list, err := client.DescribeLaunchTemplates(t.Context(), &ec2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{"builder"}})
	if err != nil || len(list.LaunchTemplates) != 1 || *list.LaunchTemplates[0].LaunchTemplateId != *id {
		t.Errorf("templates %+v, %v", list, err)
	}
	for code, spec := range map[string]types.LaunchTemplateSpecification{
		"InvalidLaunchTemplateName.NotFoundException": {LaunchTemplateName: aws.String("other")},
		"InvalidLaunchTemplateId.NotFound":            {LaunchTemplateId: aws.String("lt-01234567")},
		"InvalidLaunchTemplateId.VersionNotFound":     {LaunchTemplateId: id, Version: aws.String("2")},
		"InvalidParameterCombination":                 {LaunchTemplateId: id, LaunchTemplateName: aws.String("builder")},
	} {
		_, err := launch(func(in *ec2.RunInstancesInput) { in.LaunchTemplate = &spec })
		wantCode(t, err, code)
	}
}

func TestCreateLaunchTemplateRefusals(t *testing.T) {
	client := newClient(newServer(t, Options{}))
	create := func(name string, dryRun bool) error {
		_, err := client.CreateLaunchTemplate(t.Context(), &ec2.CreateLaunchTemplateInput{
			LaunchTemplateName: &name, DryRun: &dryRun,
			LaunchTemplateData: &types.RequestLaunchTemplateData{InstanceType: types.InstanceTypeM5Large},
		})
		return err
	}
	wantCode(t, create("x", false), "InvalidLaunchTemplateName.MalformedException")
	wantCode(t, create("builder", true), "DryRunOperation")
	if err := create("builder", false); err != nil {
		t.Fatal(err)
	}
	wantCode(t, create("builder", false), "InvalidLaunchTemplateName.AlreadyExistsException")
	_, err := client.CreateLaunchTemplate(t.Context(), &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("enclave"),
		LaunchTemplateData: &types.RequestLaunchTemplateData{EnclaveOptions: &types.LaunchTemplateEnclaveOptionsRequest{Enabled: aws.Bool(true)}},
	})
	wantCode(t, err, "UnsupportedOperation")
}

func TestImageByParameter(t *testing.T) {
	client := newClient(newServer(t, Options{SSMParameters: map[string]string{"/team/image": WorkerImageID}}))
	for name, want := range map[string]string{
		"/team/image": WorkerImageID, "/team/image:3": WorkerImageID, ScriptParameter: ScriptImageID, WorkerParameter: WorkerImageID,
	} {
		out := run(t, client, func(in *ec2.RunInstancesInput) { in.ImageId = aws.String(resolveSSM + name) })
		if got := *out.Instances[0].ImageId; got != want {
			t.Errorf("%s launched %s; want %s", name, got, want)
		}
	}
	_, err := client.RunInstances(t.Context(), launchInput(func(in *ec2.RunInstancesInput) { in.ImageId = aws.String(resolveSSM + "/other") }))
	wantCode(t, err, "InvalidParameterValue")
}

func TestInstanceProfilesAreKnown(t *testing.T) {
	client := newClient(newServer(t, Options{InstanceProfiles: []string{"ci"}}))
	with := func(p types.IamInstanceProfileSpecification) func(*ec2.RunInstancesInput) {
		return func(in *ec2.RunInstancesInput) { in.IamInstanceProfile = &p }
	}
	run(t, client, with(types.IamInstanceProfileSpecification{Name: aws.String("ci")}))
	run(t, client, with(types.IamInstanceProfileSpecification{Arn: aws.String("arn:aws:iam::123456789012:instance-profile/team/ci")}))
	_, err := client.RunInstances(t.Context(), launchInput(with(types.IamInstanceProfileSpecification{Name: aws.String("other")})))
	wantCode(t, err, "InvalidParameterValue")
}
