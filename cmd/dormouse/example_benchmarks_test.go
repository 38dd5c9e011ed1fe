package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// benchmarkScript is a benchmark that goes on when it is told to by a pipe.
const benchmarkScript = `#!/bin/sh
set -e
test "$1 $2 $3" = "--settings bench.conf --rounds"
cat bench.conf
ls -l bench.conf
read -r go <%s
echo "$4 rounds"
echo "ns/op 1234"
`

// TestExampleNightlyBenchmarks has two builds for the one machine at the one
// address: one after the other, each has the address while it measures.
func TestExampleNightlyBenchmarks(t *testing.T) {
	s := newExampleSite(t)
	pipe := filepath.Join(t.TempDir(), "go")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	// For reading too, so that nobody waits for the other end to be opened.
	tell, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tell.Close()
	revision := s.commit("main", map[string]string{"bench.sh": fmt.Sprintf(benchmarkScript, pipe)})
	address, err := s.client().AllocateAddress(t.Context(), &awsec2.AllocateAddressInput{})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BENCH_ADDRESS", *address.PublicIp)
	s.start("nightly-benchmarks")

	token := exampleSecret("DORMOUSE_SECRET_BENCH_TOKEN")
	var before exampleBuild
	for i, c := range []struct {
		request web.ForceRequest
		want    dormouse.Result
		rounds  string
		compare dormouse.Result
	}{
		{web.ForceRequest{Builder: "nightly"}, dormouse.Success, "50 rounds", dormouse.Skipped},
		{web.ForceRequest{Builder: "quick", Properties: map[string]any{"baseline": 1200}}, dormouse.Success, "5 rounds", dormouse.Success},
		{web.ForceRequest{Builder: "nightly", Properties: map[string]any{"rounds": 7, "baseline": "1000"}}, dormouse.Warnings, "7 rounds", dormouse.Failure},
	} {
		request := s.force(c.request)
		var measuring dormouse.Build
		s.until("the benchmark", func() bool {
			builds, err := s.Builds(t.Context(), web.BuildQuery{Builder: c.request.Builder, Running: new(true), Limit: 1})
			if err != nil || len(builds) == 0 {
				return false
			}
			measuring = builds[0]
			steps, err := s.Steps(t.Context(), measuring.ID)
			return err == nil && len(steps) > 0 && steps[len(steps)-1].Name == "benchmark"
		})
		found, err := s.client().DescribeAddresses(t.Context(), &awsec2.DescribeAddressesInput{PublicIps: []string{*address.PublicIp}})
		if err != nil {
			t.Fatal(err)
		}
		if holder := aws.ToString(found.Addresses[0].InstanceId); holder != measuring.InstanceID {
			t.Errorf("the address is with %q, and not with the instance %s of the build", holder, measuring.InstanceID)
		}
		if _, err := tell.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
		b := s.ended(request, c.want)
		b.has(map[string]any{"ns_per_op": 1234, "got_revision": revision})
		if machine, _ := b.Properties["machine"].Value.(string); !strings.HasPrefix(machine, "Linux ") {
			t.Errorf("the machine is %q", machine)
		}
		said := b.log("benchmark", "stdio")
		for _, want := range []string{
			"server = bench.example.org:7000\n", "builder = " + b.Builder + "\n", "-r-------- ", "\n" + c.rounds + "\n", "\nns/op 1234\n",
		} {
			if !strings.Contains(said, want) {
				t.Errorf("the benchmark does not say %q:\n%s", want, said)
			}
		}
		for name := range b.steps {
			if strings.Contains(b.log(name, "stdio"), token) {
				t.Errorf("the log of step %s has the token", name)
			}
		}
		if got := b.result("compare"); got != c.compare || b.steps["compare"].Hidden != (c.compare == dormouse.Skipped) {
			t.Errorf("the comparison: %+v", b.steps["compare"])
		}
		if i > 0 && b.InstanceID == before.InstanceID {
			t.Errorf("builds %s/%d and %s/%d ran on one instance", before.Builder, before.Number, b.Builder, b.Number)
		}
		before = b
	}
	figures, err := os.ReadFile(filepath.Join(s.base, "benchmarks.csv"))
	want := strings.NewReplacer("REVISION", revision).Replace("nightly,1,REVISION,1234\nquick,1,REVISION,1234\nnightly,2,REVISION,1234\n")
	if err != nil || string(figures) != want {
		t.Errorf("the figures are %q, %v; want %q", figures, err, want)
	}

	// The lock is held by the one that measures, whoever has a machine.
	first := s.force(web.ForceRequest{Builder: "nightly"})
	second := s.force(web.ForceRequest{Builder: "quick"})
	if _, err := tell.WriteString("go\ngo\n"); err != nil {
		t.Fatal(err)
	}
	one, other := s.ended(first, dormouse.Success), s.ended(second, dormouse.Success)
	if one.StartedAt.Before(other.FinishedAt) && other.StartedAt.Before(one.FinishedAt) {
		t.Errorf("two builds ran at a time: %+v, %+v", one.Build, other.Build)
	}

	ledger := s.end()
	if ledger.Started != 5 || ledger.Calls["AssociateAddress"] < 5 {
		t.Errorf("%d instances were started, and the address associated %d times", ledger.Started, ledger.Calls["AssociateAddress"])
	}
	found, err := s.client().DescribeAddresses(t.Context(), &awsec2.DescribeAddressesInput{PublicIps: []string{*address.PublicIp}})
	if err != nil || aws.ToString(found.Addresses[0].InstanceId) != "" {
		t.Errorf("in the end the address is with %+v, %v", found.Addresses, err)
	}
}
