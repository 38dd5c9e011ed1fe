package strangers_test

import (
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// TestBoto3 runs scripts that assert what EC2 answers to them; testdata/asking.py
// is what they share.
func TestBoto3(t *testing.T) {
	t.Parallel()
	needModule(t, "boto3", "python3-boto3")
	for script, instances := range map[string]int{"everyday.py": 7, "resources.py": 2, "network.py": 1, "market.py": 2, "price.py": 0, "standing.py": 1, "template.py": 2, "role.py": 0} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			e := serve(t, ec2sim.Options{BootDelay: glance})
			stdout, stderr, code := output(t, environment(t), python, "testdata/"+script, e.url, ec2sim.ScriptImageID)
			if code != 0 {
				t.Fatalf("the script ended with %d:\n%s%s", code, stdout, stderr)
			}
			if l := e.Ledger(); l.Started != instances || l.Alive() != 0 {
				t.Errorf("%d instances were started, %d are alive", l.Started, l.Alive())
			}
		})
	}
}

// TestBoto3Retries makes the endpoint misbehave as EC2 sometimes does, in ways
// that boto3 is made for: it calls again, and nothing is launched twice.
func TestBoto3Retries(t *testing.T) {
	t.Parallel()
	needModule(t, "boto3", "python3-boto3")
	for name, deed := range map[string]string{"throttled": `"throttle": true`, "answer lost": `"lose_answer": true`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario, err := ec2sim.ParseScenario([]byte(`{"rules": [{"when": {"action": "RunInstances", "times": 2}, "do": {` + deed + `}}]}`))
			if err != nil {
				t.Fatal(err)
			}
			e := serve(t, ec2sim.Options{BootDelay: -1, Scenario: scenario})
			stdout, stderr, code := output(t, environment(t), python, "testdata/patient.py", e.url, ec2sim.ScriptImageID)
			if code != 0 {
				t.Fatalf("the script ended with %d:\n%s", code, stderr)
			}
			l := e.Ledger()
			if l.Started != 1 || strings.TrimSpace(stdout) != "2 "+l.Instances[0].ID {
				t.Errorf("%d instances were started; the script printed %q", l.Started, stdout)
			}
			if calls := e.asked("RunInstances"); len(calls) != 3 || calls[0].Get("ClientToken") != calls[2].Get("ClientToken") {
				t.Errorf("it called %v", calls)
			}
		})
	}
}
