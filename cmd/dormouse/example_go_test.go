package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/internal/procs"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
)

var goProject = map[string]string{
	"go.mod": "module example.org/hello\n\ngo 1.21\n",
	"greeting/greeting.go": `// Package greeting greets.
package greeting

// To greets somebody.
func To(name string) string { return "hello, " + name }
`,
	"greeting/greeting_test.go": `package greeting

import "testing"

func TestTo(t *testing.T) {
	if got := To("dormouse"); got != "hello, dormouse" {
		t.Error(got)
	}
}
`,
	"cmd/hello/main.go": `package main

import (
	"os"

	"example.org/hello/greeting"
)

var version = "none"

func main() { os.Stdout.WriteString(greeting.To(version) + "\n") }
`,
}

// TestExampleGoSpot builds a Go module on spot instances, a branch of it whose
// test fails, and, when spot has no capacity, on an instance on demand.
func TestExampleGoSpot(t *testing.T) {
	shareGoCaches(t)
	s := newExampleSite(t)
	revision := s.commit("main", goProject)
	broken := s.commit("broken", map[string]string{"greeting/greeting.go": "package greeting\n\nfunc To(name string) string { return name }\n"})
	s.start("go-spot")

	good := s.force(web.ForceRequest{Builder: "hello"})
	bad := s.force(web.ForceRequest{Builder: "hello", Branch: "broken"})
	b := s.ended(good, dormouse.Success)
	version := "main-" + revision
	files := b.artifacts()
	if got, want := artifactNames(files), "hello-"+version+" test.json"; got != want {
		t.Fatalf("artifacts %s, not %s", got, want)
	}
	program := files["hello-"+version]
	sum := sha256.Sum256(program)
	b.has(map[string]any{"version": version, "got_revision": revision, "program": "hello", "sha256": hex.EncodeToString(sum[:])})
	path := filepath.Join(t.TempDir(), "hello")
	if err := procs.WriteProgram(path, program); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path).Output(); err != nil || string(out) != "hello, "+version+"\n" {
		t.Errorf("the program says %q, %v", out, err)
	}
	events := `"Action":"pass","Package":"example.org/hello/greeting","Test":"TestTo"`
	if !strings.Contains(string(files["test.json"]), events) || b.log("test", "events") != string(files["test.json"]) {
		t.Errorf("the log of the events and the artifact differ, or lack %s:\n%s\n%s", events, b.log("test", "events"), files["test.json"])
	}

	// A failure ends the build, but for what is wanted most then.
	b = s.ended(bad, dormouse.Failure)
	b.has(map[string]any{"version": "broken-" + broken, "got_revision": broken})
	files = b.artifacts()
	if got := artifactNames(files); got != "test.json" || !strings.Contains(string(files[got]), `"Action":"fail"`) {
		t.Errorf("artifacts %s: %s", got, files["test.json"])
	}

	ledger := s.end()
	for _, i := range ledger.Instances {
		if i.Market != dormouse.Spot || i.InstanceType != "m7i.large" || i.ImageID != exampleImage || i.Tags["Project"] != "hello" {
			t.Errorf("instance %+v", i)
		}
	}
	if ledger.Started == 0 || ledger.Started > 2 {
		t.Errorf("%d instances were started for two builds", ledger.Started)
	}
}

// TestExampleGoSpotWithoutSpot has no capacity in spot.
func TestExampleGoSpotWithoutSpot(t *testing.T) {
	shareGoCaches(t)
	s := newExampleSite(t)
	s.commit("main", goProject)
	full, err := ec2sim.ParseScenario([]byte(`{"rules": [{"name": "full", "when": {"market": "spot"}, "do": {"capacity": 0}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s.endpoint.SetScenario(full)
	s.start("go-spot")
	s.ended(s.force(web.ForceRequest{Builder: "hello"}), dormouse.Success)
	ledger := s.end()
	if len(ledger.Instances) != 1 || ledger.Instances[0].Market != dormouse.OnDemand {
		t.Errorf("instances %+v", ledger.Instances)
	}
}

// shareGoCaches has instances use this user's caches: their homes are empty, and
// to compile the standard library takes its time.
func shareGoCaches(t *testing.T) {
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Skip(err)
	}
	caches := strings.Fields(string(out))
	t.Setenv("GOCACHE", caches[0])
	t.Setenv("GOMODCACHE", caches[1])
	t.Setenv("GOTOOLCHAIN", "local")
}
