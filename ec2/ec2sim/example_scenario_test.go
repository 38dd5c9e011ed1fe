package ec2sim_test

import (
	"fmt"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// What is wrong with a scenario is said all at once.
func ExampleParseScenario() {
	_, err := ec2sim.ParseScenario([]byte(`{
		"rules": [
			{"when": {"action": "RunInstances", "times": 2}, "do": {"lose_answer": true}},
			{"when": {"zone": "a"}, "do": {"capacity": "none"}},
			{"when": {"fraction": 30}, "do": {"throttle": true}}
		]
	}`))
	fmt.Println(err)
	// Output:
	// the scenario is wrong:
	//   rules[1].do.capacity: "none": expecting a whole number, 0 at least
	//   rules[2].when.fraction: 30: expecting a number above 0, 1 at most
}
