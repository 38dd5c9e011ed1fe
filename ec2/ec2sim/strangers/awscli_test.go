package strangers_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

const awsCLI = "/usr/bin/aws"

// The AWS CLI's exit code for a service's error; 252 would be a command that it
// does not understand, 255 anything else.
const cliServiceError = 254

// cli is the AWS CLI with an endpoint to call.
type cli struct {
	t   *testing.T
	env []string
	url string
}

func newCLI(t *testing.T, e *endpoint) *cli {
	t.Helper()
	need(t, awsCLI, "awscli")
	return &cli{t, environment(t), e.url}
}

// run runs a command and returns what it printed, as it did.
func (c *cli) run(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return output(c.t, c.env, awsCLI, append([]string{"--endpoint-url", c.url}, args...)...)
}

// text runs a command that must succeed and returns its output as text, in
// which tabs separate columns.
func (c *cli) text(args ...string) string {
	c.t.Helper()
	stdout, stderr, code := c.run(append(args, "--output", "text")...)
	if code != 0 || stderr != "" {
		c.t.Fatalf("aws %q: exit code %d\n%s", args, code, stderr)
	}
	return strings.TrimSpace(stdout)
}

// json runs a command that must succeed and returns its answer.
func (c *cli) json(into any, args ...string) {
	c.t.Helper()
	stdout, stderr, code := c.run(append(args, "--output", "json")...)
	if code != 0 || stderr != "" {
		c.t.Fatalf("aws %q: exit code %d\n%s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), into); err != nil {
		c.t.Fatalf("aws %q: %v\n%s", args, err, stdout)
	}
}

// refused runs a command that the endpoint must refuse, in just these words.
func (c *cli) refused(operation, code, message string, args ...string) {
	c.t.Helper()
	stdout, stderr, exit := c.run(args...)
	want := fmt.Sprintf("An error occurred (%s) when calling the %s operation: %s", code, operation, message)
	if got := strings.TrimSpace(stderr); exit != cliServiceError || got != want || stdout != "" {
		c.t.Errorf("aws %q: exit code %d, want %d\n got: %s%s\nwant: %s", args, exit, cliServiceError, stdout, got, want)
	}
}

// launched is what the CLI prints of a launch.
type launched struct {
	Instances []struct {
		InstanceID string `json:"InstanceId"`
		State      struct{ Name string }
	}
}

func (l launched) ids() []string {
	var ids []string
	for _, inst := range l.Instances {
		ids = append(ids, inst.InstanceID)
	}
	return ids
}

// TestAWSCLIInstances takes the AWS CLI through the life of some instances.
func TestAWSCLIInstances(t *testing.T) {
	t.Parallel()
	e := serve(t, ec2sim.Options{BootDelay: -1})
	c := newCLI(t, e)

	launch := func(kind string, more ...string) []string {
		return append([]string{
			"ec2", "run-instances", "--image-id", ec2sim.ScriptImageID, "--instance-type", kind, "--count", "6", "--client-token", "once",
			"--user-data", "#!/bin/sh\necho hello from the user data\nexec sleep 1000\n",
			"--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=cli},{Key=text,Value=a b}]",
		}, more...)
	}
	c.refused("RunInstances", "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", launch("t3.micro", "--dry-run")...)
	if l := e.Ledger(); l.Started != 0 {
		t.Fatalf("a dry run started %d instances", l.Started)
	}
	var first, again launched
	c.json(&first, launch("t3.micro")...)
	c.json(&again, launch("t3.micro")...)
	ids := first.ids()
	if diff := cmp.Diff(ids, again.ids()); diff != "" || len(ids) != 6 {
		t.Fatalf("launched twice with one client token (-first +again):\n%s", diff)
	}
	c.refused("RunInstances", "IdempotentParameterMismatch",
		"Arguments on this idempotent request are inconsistent with arguments used in previous request(s).", launch("t3.small")...)

	c.text(append([]string{"ec2", "wait", "instance-running", "--instance-ids"}, ids...)...)
	got := c.text("ec2", "describe-instances", "--filters", "Name=tag:Name,Values=c?i*,none", "Name=instance-state-name,Values=running",
		"--query", "Reservations[].Instances[].[InstanceId,State.Name,Tags[?Key=='text']|[0].Value]")
	var want []string
	for _, id := range ids {
		want = append(want, id+"\trunning\ta b")
	}
	if diff := cmp.Diff(want, strings.Split(got, "\n")); diff != "" {
		t.Errorf("described (-want +got):\n%s", diff)
	}

	t.Run("pages", func(t *testing.T) {
		before := len(e.asked("DescribeInstances"))
		all := c.text("ec2", "describe-instances", "--page-size", "5", "--query", "Reservations[].Instances[].[InstanceId]")
		if diff := cmp.Diff(ids, strings.Split(all, "\n")); diff != "" {
			t.Errorf("in pages (-want +got):\n%s", diff)
		}
		pages := e.asked("DescribeInstances")[before:]
		if len(pages) != 2 || pages[0].Get("MaxResults") != "5" || pages[1].Get("NextToken") == "" {
			t.Errorf("it asked for the pages %v", pages)
		}
	})

	c.text("ec2", "create-tags", "--resources", ids[0], "--tags", "Key=role,Value=first", "Key=Name,Value=changed")
	if tags := e.entry(t, ids[0]).Tags; tags["role"] != "first" || tags["Name"] != "changed" || tags["text"] != "a b" {
		t.Errorf("tags: %v", tags)
	}
	await(t, "the instance's output", func() bool {
		return strings.Contains(c.text("ec2", "get-console-output", "--latest", "--instance-id", ids[1]), "hello from the user data")
	})

	// One bad id spoils the call.
	const unknown = "i-0123456789abcdef0"
	c.refused("TerminateInstances", "InvalidInstanceID.NotFound", "The instance ID '"+unknown+"' does not exist",
		"ec2", "terminate-instances", "--instance-ids", ids[0], unknown)
	if e.Ledger().Alive() != len(ids) {
		t.Error("a call with a bad id terminated the others")
	}
	c.refused("DescribeInstances", "InvalidInstanceID.Malformed", `Invalid id: "x-1" (expecting "i-...")`,
		"ec2", "describe-instances", "--instance-ids", "x-1")

	ended := c.text(append([]string{"ec2", "terminate-instances", "--query", "TerminatingInstances[].CurrentState.Name", "--instance-ids"}, ids...)...)
	if states := strings.Fields(ended); len(states) != 6 || slices.ContainsFunc(states, func(s string) bool { return s != "shutting-down" }) {
		t.Errorf("they are %q", ended)
	}
	e.awaitNoneAlive(t) // the CLI's own wait looks every 15 s only
	c.text(append([]string{"ec2", "wait", "instance-terminated", "--instance-ids"}, ids...)...)
	if l := e.Ledger(); l.Started != 6 || l.Alive() != 0 {
		t.Errorf("%d instances were started, %d are alive", l.Started, l.Alive())
	}
}

// TestAWSCLIAccount asks for what is not an instance.
func TestAWSCLIAccount(t *testing.T) {
	t.Parallel()
	e := serve(t, ec2sim.Options{Images: buildbotImages()})
	c := newCLI(t, e)

	var identity struct{ Account, Arn string }
	c.json(&identity, "sts", "get-caller-identity")
	if identity.Account != account || identity.Arn != "arn:aws:iam::"+account+":user/"+ec2sim.DefaultAccessKeyID {
		t.Errorf("%+v", identity)
	}
	zones := strings.Fields(c.text("ec2", "describe-availability-zones", "--query", "AvailabilityZones[?State=='available'].ZoneName"))
	if !slices.Contains(zones, region+"a") {
		t.Errorf("zones: %v", zones)
	}
	got := c.text("ec2", "describe-images", "--owners", imageOwner, "--filters", "Name=name,Values=ci-*", "Name=state,Values=available",
		"--query", "sort_by(Images,&ImageId)[].[ImageId,ImageLocation,Public]")
	if want := "ami-00000009\t222222222222/ci-9\tTrue\n" + newestImage + "\t222222222222/ci-10\tTrue"; got != want {
		t.Errorf("images: %q", got)
	}
	types := c.text("ec2", "describe-instance-types", "--instance-types", "t3.micro", "--query", "InstanceTypes[].[InstanceType,VCpuInfo.DefaultVCpus]")
	if types != "t3.micro\t2" {
		t.Errorf("types: %q", types)
	}
	key := c.text("ec2", "create-key-pair", "--key-name", "mine", "--query", "KeyMaterial")
	if !strings.HasPrefix(key, "-----BEGIN") {
		t.Error("a new key pair has no private key")
	}
	c.refused("CreateKeyPair", "InvalidKeyPair.Duplicate", "The keypair 'mine' already exists.", "ec2", "create-key-pair", "--key-name", "mine")
	group := c.text("ec2", "create-security-group", "--group-name", "mine", "--description", "of the CLI")
	if found := c.text("ec2", "describe-security-groups", "--group-names", "mine", "--query", "SecurityGroups[].[GroupId,Description]"); found != group+"\tof the CLI" {
		t.Errorf("made the group %q, and found %q", group, found)
	}

	for _, wrong := range []string{"AWS_ACCESS_KEY_ID=nobody", "AWS_SECRET_ACCESS_KEY=wrong"} {
		stranger := *c
		stranger.env = append(slices.Clone(c.env), wrong)
		stranger.refused("DescribeImages", "AuthFailure", "AWS was not able to validate the provided access credentials", "ec2", "describe-images")
	}
}
