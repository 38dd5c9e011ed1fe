package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

const (
	demoRegion = "us-east-1"
	// demoMaxSpotPrice is what one of the demo's instances costs on demand:
	// nobody bids more for one that can be taken away.
	demoMaxSpotPrice = 0.0208
	// demoLongStep is how long the additional step takes that an interruption
	// is to fall into, in seconds.
	demoLongStep = 16
)

// readScenario reads the file of a --scenario flag.
func readScenario(file string) (*ec2sim.Scenario, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Invalid, "read --scenario: %w", err)
	}
	sc, err := ec2sim.ParseScenario(text)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Invalid, "--scenario %s: %w", file, err)
	}
	return sc, nil
}

// interrupted reports whether the scenario takes instances away.
func (d *demo) interrupted() bool { return d.scenario != nil && d.scenario.Interrupts() }

// placement is where and how the demo's instances are bought, as arguments of
// the worker. Under a scenario the worker names the subnets of all zones, so
// that it has somewhere else to go; only spot instances can be taken away.
func (d *demo) placement() string {
	var b strings.Builder
	line := func(format string, args ...any) {
		fmt.Fprintf(&b, strings.Repeat(" ", 27)+format+",\n", args...)
	}
	if d.scenario == nil {
		line("security_name='dormouse-demo'")
	} else {
		line("subnet_id=['%s']", strings.Join(ec2sim.DefaultSubnets(demoRegion), "', '"))
		line("security_group_ids=[%q]", ec2sim.DefaultSecurityGroup(demoRegion))
	}
	if d.spot || d.interrupted() {
		line("spot_instance=True")
		line("max_spot_price=%v", demoMaxSpotPrice)
	}
	return b.String()
}

// longStep is a step that takes long enough to be interrupted, where the
// scenario does that.
func (d *demo) longStep() string {
	if !d.interrupted() {
		return ""
	}
	return fmt.Sprintf("    steps.ShellCommand(name='soak', logEnviron=False,\n"+
		"                       command='for i in $(seq %[1]d); do echo soaking, second $i of %[1]d; sleep 1; done'),\n", demoLongStep)
}
