package dormouse_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dormouse-ci/dormouse"

// mayImport is the direction of dependencies: every package may import the
// root package, and of this module only what is listed here besides. A package
// that is not listed is a new one: decide where it belongs.
var mayImport = map[string][]string{
	"":           {},
	"artifact":   {},
	"bootstrap":  {"internal/listen"},
	"build":      {"expr", "wire", "internal/environ", "internal/procs"},
	"config":     {"config/dialect", "expr", "internal/listen", "internal/private"},
	"ec2":        {},
	"ec2/ec2sim": {"internal/listen"},
	// A language. What it is used for is handed in.
	"config/dialect": {},
	// Tests only.
	"ec2/ec2sim/strangers": {},
	"expr":                 {},
	"fleet":                {},
	"internal/boottime":    {},
	"internal/brokenwire":  {},
	"internal/environ":     {},
	"internal/listen":      {"internal/private"},
	"internal/loopback":    {},
	"internal/procs":       {},
	"internal/pgcluster":   {},
	"internal/private":     {},
	// Tests only.
	"internal/testca": {},
	"latent":          {},
	// Of AWS it knows the instance metadata service, and of the protocol a notice.
	"machine":          {"wire"},
	"notify":           {},
	"pb":               {"pb/banana"},
	"pb/banana":        {},
	"planner":          {},
	"store":            {},
	"store/migrations": {},
	"store/postgres":   {"store", "store/migrations"},
	"store/sqlite":     {"store", "store/migrations"},
	"store/storetest":  {"store"},
	"web":              {"internal/listen"},
	"web/client":       {"web"},
	"web/webtest":      {"web"},
	"wire":             {"internal/listen"},
	"watchdog":         {"internal/boottime", "machine", "wire"},
	"worker":           {"internal/environ", "machine", "wire", "worker/command"},
	"worker/command":   {"internal/procs", "wire"},
	// It drives the product from outside, and judges it by the endpoint's ledger.
	"internal/boottest": {"ec2/ec2sim", "web", "web/client"},
	"internal/torture":  {"ec2/ec2sim", "internal/brokenwire", "internal/loopback", "internal/pgcluster", "machine", "web", "web/client", "worker"},
	// These two assemble the others.
	"master":       {"*"},
	"cmd/dormouse": {"*"},
}

// onlyStandardLibrary are packages that import nothing from outside at all:
// the language of the domain, and the decisions.
var onlyStandardLibrary = []string{"", "expr", "latent", "planner", "fleet"}

// apart are packages that do not import the root package either: they know nothing
// of builds.
var apart = []string{"config/dialect"}

func TestDependencyDirection(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(out); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s has no place in the dependency direction yet", name)
			continue
		}
		for _, i := range p.Imports {
			sibling, ours := strings.CutPrefix(i, module+"/")
			switch {
			case i == module && slices.Contains(apart, name):
				t.Errorf("package %s must not import the root package", name)
			case i == module:
			case ours && !slices.Contains(allowed, "*") && !slices.Contains(allowed, sibling):
				t.Errorf("package %s must not import %s", name, sibling)
			case !ours && slices.Contains(onlyStandardLibrary, name) && strings.Contains(i, "."):
				t.Errorf("package %q must not import %s: it uses the standard library alone", name, i)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if seen < len(mayImport) {
		t.Errorf("%d packages found, %d are listed", seen, len(mayImport))
	}
}
