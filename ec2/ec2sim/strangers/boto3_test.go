package strangers_test

import (
	"testing"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// TestBoto3 runs a script that asserts what EC2 answers to it.
func TestBoto3(t *testing.T) {
	t.Parallel()
	needModule(t, "boto3", "python3-boto3")
	e := serve(t, ec2sim.Options{BootDelay: glance})
	if stdout, stderr, code := output(t, environment(t), python, "testdata/everyday.py", e.url, ec2sim.ScriptImageID); code != 0 {
		t.Fatalf("the script ended with %d:\n%s%s", code, stdout, stderr)
	}
	if l := e.Ledger(); l.Started != 7 || l.Alive() != 0 {
		t.Errorf("%d instances were started, %d are alive", l.Started, l.Alive())
	}
}
