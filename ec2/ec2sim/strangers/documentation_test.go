package strangers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// example returns the first block in a language of a section of
// docs/endpoint.md.
func example(t *testing.T, heading, language string) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/endpoint.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, block, begun := strings.Cut(section, "```"+language+"\n")
	block, _, ended := strings.Cut(block, "```\n")
	if !found || !begun || !ended {
		t.Fatalf("docs/endpoint.md has no %s example under %q", language, heading)
	}
	return block
}

// runExample runs an example as its reader would.
func runExample(t *testing.T, e *endpoint, interpreter, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "example")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(environment(t), "AWS_ENDPOINT_URL="+e.url)
	stdout, stderr, code := output(t, env, interpreter, file)
	if code != 0 {
		t.Fatalf("it ended with %d:\n%s%s", code, stdout, stderr)
	}
	e.awaitNoneAlive(t)
	return stdout
}

func TestDocumentedCLI(t *testing.T) {
	t.Parallel()
	need(t, awsCLI, "awscli")
	e := serve(t, ec2sim.Options{BootDelay: -1})
	stdout := runExample(t, e, "/bin/sh", "set -eu\n"+example(t, "The AWS CLI", "sh"))
	if id := e.Ledger().Instances[0].ID; !strings.Contains(stdout, id+"\trunning\n") || !strings.Contains(stdout, "shutting-down") {
		t.Errorf("it printed:\n%s", stdout)
	}
}

func TestDocumentedBoto3(t *testing.T) {
	t.Parallel()
	needModule(t, "boto3", "python3-boto3")
	e := serve(t, ec2sim.Options{BootDelay: -1})
	stdout := runExample(t, e, python, example(t, "boto3", "python"))
	if id := e.Ledger().Instances[0].ID; !strings.HasPrefix(stdout, id+" running ") {
		t.Errorf("it printed:\n%s", stdout)
	}
}

// TestDocumentedBuildbot holds the documented session to the one that
// [TestBuildbot] runs with.
func TestDocumentedBuildbot(t *testing.T) {
	config, err := os.ReadFile("testdata/master.cfg")
	if err != nil {
		t.Fatal(err)
	}
	if session := example(t, "A Buildbot master", "python"); !strings.Contains(string(config), session) {
		t.Errorf("testdata/master.cfg does not have the session of docs/endpoint.md:\n%s", session)
	}
}
