package main

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// scenarioDir is where the examples are, which people are told to try.
const scenarioDir = "../../examples/scenarios"

// checkScenarioSummary is the script command "scenario-summary FILE
// generations=N [hits=N]": the builds succeeded, each generation had one
// instance, none is alive, and the scenario did something: exactly N times
// where that is known.
func checkScenarioSummary(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: scenario-summary FILE generations=N [hits=N]")
	}
	want := map[string]int{}
	for _, arg := range args[1:] {
		key, text, _ := strings.Cut(arg, "=")
		n, err := strconv.Atoi(text)
		ts.Check(err)
		want[key] = n
	}
	text := ts.ReadFile(args[0])
	var got summary
	ts.Check(json.Unmarshal([]byte(text), &got))
	hits := 0
	for _, r := range got.Scenario {
		hits += r.Hits
	}
	if n, exact := want["hits"]; exact && hits != n || hits == 0 {
		ts.Fatalf("the scenario's rules hit %d times: %s", hits, text)
	}
	if got.Result != "success" || len(got.Builds) != 1 || got.Builds[0].Result != "success" {
		ts.Fatalf("the build: %s", text)
	}
	if got.Generations != want["generations"] || got.InstancesStarted != got.Generations || got.InstancesAlive != 0 {
		ts.Fatalf("one instance for each generation, and none alive: %s", text)
	}
}

// Every example is one, and says what it shows.
func TestScenarioExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(scenarioDir, "*.json"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		sc, err := readScenario(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if sc.Description() == "" {
			t.Errorf("%s has no description", file)
		}
	}
}
