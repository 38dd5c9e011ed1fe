package ec2

import (
	"net/url"
	"slices"
	"testing"

	"github.com/dormouse-ci/dormouse"
)

// tagsInterfaces reports whether a RunInstances request has tags for interfaces.
func tagsInterfaces(form url.Values) bool {
	return slices.Contains([]string{form.Get("TagSpecification.1.ResourceType"), form.Get("TagSpecification.2.ResourceType"), form.Get("TagSpecification.3.ResourceType")}, "network-interface")
}

// onlyExisting answers as EC2 does where a template names a network interface.
func onlyExisting(form url.Values) (string, error) {
	switch form.Get("Action") {
	case "RunInstances":
		if tagsInterfaces(form) {
			return refuse("InvalidParameterValue", "You cannot specify tags for network interfaces if there are no network interfaces being created by the request.")
		}
		return "<instancesSet><item><instanceId>i-1</instanceId></item></instancesSet>", nil
	case "DescribeLaunchTemplateVersions":
		return "<launchTemplateVersionSet><item><launchTemplateId>lt-1</launchTemplateId><launchTemplateName>ci</launchTemplateName><versionNumber>7</versionNumber>" +
			"<launchTemplateData><networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId></item></networkInterfaceSet></launchTemplateData></item></launchTemplateVersionSet>", nil
	}
	return oneImage("ami-1"), nil
}

// TestATemplatesInterfaceIsNotTagged: EC2 takes no tags for a network interface that
// exists. A refusal tells so, and the next launch has none, or the template does
// where it is read; the launches of other templates have theirs.
func TestATemplatesInterfaceIsNotTagged(t *testing.T) {
	noEnvironment(t)
	spec := LaunchSpec{Worker: "bot1", InstanceTypes: []string{"m5.large"}, AMI: "ami-1", LaunchTemplate: LaunchTemplate{Name: "ci"}}
	e := &endpoint{answer: onlyExisting}
	a := openAccount(t, e)
	launch := func(spec LaunchSpec) error {
		t.Helper()
		request, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Launch(t.Context(), request, "t")
		return err
	}
	err := launch(spec)
	wantCode(t, err, dormouse.Configuration, "the next launch goes without these tags")
	if !Settled(err) {
		t.Error("the refusal is taken for none")
	}
	if err := launch(spec); err != nil {
		t.Error(err)
	}
	other := spec
	other.LaunchTemplate.Name = "other"
	wantCode(t, launch(other), dormouse.Configuration, "the next launch goes without these tags")

	a = openAccount(t, e)
	x := &examination{a: a, spec: spec}
	x.launchTemplate(t.Context())
	if len(x.findings) != 2 || x.findings[1].State != FindingWarning {
		t.Errorf("%+v", x.findings)
	}
	if err := a.dryRun(t.Context(), spec, spec.Offerings()[0], ""); remoteOf(err) == "InvalidParameterValue" {
		t.Errorf("it is tried with tags: %v", err)
	}
}
