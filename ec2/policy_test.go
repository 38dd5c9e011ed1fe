package ec2

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPolicy: the documented policy allows every action that is called, and no
// other, and the table above it names each.
func TestPolicy(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/ec2.md")
	if err != nil {
		t.Fatal(err)
	}
	table, rest, _ := strings.Cut(string(page), "<!-- policy -->\n```json\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/ec2.md has no policy")
	}
	var policy struct {
		Statement []struct{ Action any }
	}
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, s := range policy.Statement {
		actions, several := s.Action.([]any)
		if !several {
			actions = []any{s.Action}
		}
		for _, a := range actions {
			allowed = append(allowed, a.(string))
		}
	}
	want := []string{
		"ec2:CreateTags", "iam:CreateServiceLinkedRole", "iam:PassRole", "pricing:GetProducts", "servicequotas:GetServiceQuota", "ssm:GetParameters",
		"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*",
	}
	for _, a := range Actions {
		want = append(want, "ec2:"+a)
	}
	slices.Sort(want)
	slices.Sort(allowed)
	if diff := cmp.Diff(want, allowed); diff != "" {
		t.Errorf("actions (-called +allowed):\n%s", diff)
	}
	_, table, _ = strings.Cut(table, "| for | actions of `ec2:`")
	for _, a := range want {
		if !strings.Contains(table, "`"+strings.TrimPrefix(a, "ec2:")+"`") {
			t.Errorf("the table does not name %s", a)
		}
	}
	for _, a := range allowed {
		if strings.HasPrefix(a, "kms:") && !strings.Contains(reasonHints["Client.InternalError"], a) {
			t.Errorf("the hint of Client.InternalError does not name %s", a)
		}
	}
}
