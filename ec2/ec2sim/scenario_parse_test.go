package ec2sim

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

// everyRule has every key of the format.
const everyRule = `{
  "description": "everything",
  "seed": 42,
  "rules": [
    {"name": "a", "when": {"action": "RunInstances", "zone": "us-east-1a", "instance_type": "t3.micro", "market": "spot",
     "tags": {"k": "v"}, "skip": 1, "times": 2, "fraction": 0.5, "from": "1s", "until": "2m"}, "do": {"fail": {"code": "Unavailable"}}},
    {"do": {"fail": {"code": "InternalError", "message": "it broke", "status": 502}}},
    {"do": {"throttle": true}},
    {"do": {"slow": "2s"}},
    {"do": {"lose_answer": true}},
    {"when": {"action": "RunInstances", "zone": "a"}, "do": {"fail": {"code": "Unavailable", "carried_out": true}}},
    {"when": {"zone": "b"}, "do": {"capacity": 3}},
    {"do": {"leave_open": true}},
    {"do": {"repeat_ended": true}},
    {"do": {"hide": "1m"}},
    {"do": {"lose_tags": "10s"}},
    {"do": {"die": {"while": "pending", "after": "1s", "code": "Client.VolumeLimitExceeded", "message": "no room"}}},
    {"do": {"never_boot": true}},
    {"do": {"interrupt": {"after": "1s", "notice": "2s", "rebalance": "500ms"}}},
    {"when": {"instance_type": "t3.micro"}, "do": {"spot_price": {"steps": [{"at": "0s", "price": 0.01}, {"at": "1s", "price": 2}], "notice": "3s"}}}
  ]
}`

func TestParseScenario(t *testing.T) {
	sc, err := ParseScenario([]byte(everyRule))
	if err != nil {
		t.Fatal(err)
	}
	if sc.seed != 42 || sc.Description() != "everything" || !sc.Interrupts() {
		t.Errorf("%+v", sc)
	}
	var kinds []string
	for _, r := range sc.rules {
		kinds = append(kinds, string(r.do.kind))
	}
	want := []string{
		"fail a launch", "fail", "throttle", "slow", "lose_answer", "fail when done", "capacity", "leave_open", "repeat_ended",
		"hide", "lose_tags", "die", "never_boot", "interrupt", "spot_price",
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
	if got := sc.rules[0].do.fault.status; got != 503 {
		t.Errorf("the status of Unavailable is %d", got)
	}
	if got := sc.rules[9].name; got != "rules[9]" {
		t.Errorf("a rule without a name is %q", got)
	}
	if sc, err := ParseScenario([]byte(`{"rules": []}`)); err != nil || sc.Interrupts() {
		t.Errorf("%+v, %v", sc, err)
	}
}

// All errors are shown at once, each with where it stands.
func TestParseScenarioRefuses(t *testing.T) {
	rule := func(when, do string) string { return `{"rules": [{"when": {` + when + `}, "do": {` + do + `}}]}` }
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty":          {"", []string{"not JSON, at line 1: it ends too early"}},
		"not JSON":       {"{\n\"rules\": [}", []string{"at line 2"}},
		"cut off":        {"{\n\"rules\": [\n", []string{"ends too early"}},
		"more":           {"{} {}", []string{"there is more after its end"}},
		"comment":        {"{ // no\n}", []string{"not JSON"}},
		"too deep":       {strings.Repeat("[", 50), []string{"nested too deeply"}},
		"too large":      {strings.Repeat(" ", maxScenario+1), []string{"larger than"}},
		"a list":         {"[]", []string{"scenario: expecting an object with description, seed, rules"}},
		"unknown key":    {`{"rule": []}`, []string{"rule: no such key here; expecting description, seed, rules"}},
		"twice":          {`{"seed": 1, "seed": 2}`, []string{"seed: is there twice"}},
		"seed":           {`{"seed": 1.5}`, []string{"seed: 1.5: expecting a whole number, 0 at least"}},
		"rules":          {`{"rules": {}}`, []string{"rules: expecting a list"}},
		"too many rules": {`{"rules": [` + strings.TrimSuffix(strings.Repeat("1,", maxRules+1), ",") + `]}`, []string{"has 1001 elements"}},
		"too many wrong": {`{"rules": [` + strings.TrimSuffix(strings.Repeat("1,", maxProblems+3), ",") + `]}`, []string{"rules[99]", "and 3 more"}},
		"no do":          {`{"rules": [{"name": "x"}]}`, []string{`rules[0]: has no "do"`}},
		"empty do":       {rule(``, ``), []string{"rules[0].do: expecting exactly one of fail, throttle"}},
		"two deeds":      {rule(``, `"throttle": true, "slow": "1s"`), []string{"rules[0].do: expecting exactly one of"}},
		"unknown deed":   {rule(``, `"explode": true`), []string{"rules[0].do.explode: no such key here"}},
		"throttle false": {rule(``, `"throttle": false`), []string{"rules[0].do.throttle: false: expecting true"}},
		"many at once": {
			rule(`"action": "Run", "market": "free", "fraction": 2, "times": 0, "from": 5, "tags": []`, `"fail": {"status": 200}`),
			[]string{
				`rules[0].when.action: "Run": the endpoint has no such action`,
				`rules[0].when.market: "free": expecting "spot" or "on-demand"`,
				`rules[0].when.fraction: 2: expecting a number above 0, 1 at most`,
				`rules[0].when.times: 0: expecting a whole number, 1 at least`,
				`rules[0].when.from: 5: expecting a time such as "1.5s" or "2m"`,
				`rules[0].when.tags: expecting an object`,
				`rules[0].do.fail.status: 200: expecting a whole number, 400 at least`,
				`rules[0].do.fail: has no usable "code"`,
			},
		},
		"status":              {rule(``, `"fail": {"code": "X1", "status": 600}`), []string{"rules[0].do.fail.status: 600: expecting a status"}},
		"type":                {rule(`"instance_type": "z9.huge"`, `"hide": "1s"`), []string{`rules[0].when.instance_type: "z9.huge": the endpoint has no`}},
		"negative time":       {rule(``, `"slow": "-1s"`), []string{`rules[0].do.slow: "-1s": expecting a time`}},
		"until before from":   {rule(`"from": "2s", "until": "1s"`, `"throttle": true`), []string{"rules[0].when.until: 1s: expecting a time after 2s"}},
		"throttle in a zone":  {rule(`"zone": "a"`, `"throttle": true`), []string{"rules[0].when: a call is throttled or slowed by its action alone"}},
		"describe in a zone":  {rule(`"zone": "a", "action": "DescribeInstances"`, `"lose_answer": true`), []string{"only the action RunInstances has"}},
		"action of instances": {rule(`"action": "RunInstances"`, `"hide": "1s"`), []string{"rules[0].when.action: hide is about instances"}},
		"interrupt on-demand": {rule(`"market": "on-demand"`, `"interrupt": {}`), []string{"rules[0].when.market: interrupt is for spot"}},
		"no steps":            {rule(``, `"spot_price": {}`), []string{`rules[0].do.spot_price: needs "steps"`}},
		"steps back": {
			rule(``, `"spot_price": {"steps": [{"at": "1s", "price": 1}, {"at": "1s"}]}`),
			[]string{`steps[1]: has no usable "price"`, "steps[1].at: 1s: expecting a time after the step before, 1s"},
		},
		"counted price": {
			rule(`"times": 1`, `"spot_price": {"steps": [{"at": "0s", "price": 1}]}`),
			[]string{"rules[0].when.times: a price has a zone and an instance_type only"},
		},
		"death": {rule(``, `"die": {"while": "stopped", "code": "?"}`), []string{`rules[0].do.die.while: "stopped"`, `rules[0].do.die.code: "?"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseScenario([]byte(tc.text))
			if dormouse.CodeOf(err) != dormouse.Invalid {
				t.Fatalf("%v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

func FuzzParseScenario(f *testing.F) {
	f.Add([]byte(everyRule))
	f.Add([]byte(`{"rules": [{"do": 1}, {"when": [], "do": {"fail": null}}]}`))
	f.Add([]byte(`{"seed": 1e400}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		sc, err := ParseScenario(text)
		var e *dormouse.Error
		switch {
		case err != nil && !errors.As(err, &e):
			t.Fatalf("an error without a class: %v", err)
		case err != nil:
			return
		}
		for _, r := range sc.rules {
			if r.do.kind == "" || r.name == "" || r.when.times < 0 || r.when.skip < 0 {
				t.Errorf("rule %+v was taken", r)
			}
		}
	})
}
