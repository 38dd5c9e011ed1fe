package ec2_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// TestRoleAtTheLocalEndpoint: everything goes under the role's own credentials.
func TestRoleAtTheLocalEndpoint(t *testing.T) {
	inSim(t, func(t *testing.T, sim *ec2sim.Server, _ *ec2.Account) {
		a, err := ec2.Open(t.Context(), ec2.Session{
			AccessKeyID: ec2sim.DefaultAccessKeyID, SecretAccessKey: ec2sim.DefaultSecretAccessKey, EndpointURL: "http://ec2.test",
			RoleARN: "arn:aws:iam::123456789012:role/ci", ExternalID: "x1",
		}, "us-east-1", ec2.Deployment{ID: "d1"}, ec2.WithHTTPClient(&http.Client{Transport: sim}))
		if err != nil {
			t.Fatal(err)
		}
		spec := simSpec()
		findings := a.Examine(t.Context(), spec)
		if len(findings) == 0 || !strings.Contains(findings[0].Text, ":assumed-role/ci/dormouse") {
			t.Errorf("findings %v", findings)
		}
		launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		started, err := a.Launch(t.Context(), launch, "t")
		if err != nil {
			t.Fatal(err)
		}
		if failed, err := a.Terminate(t.Context(), []string{started[0].ID}); err != nil || len(failed) > 0 {
			t.Error(failed, err)
		}
	})
}
