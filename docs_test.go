package dormouse_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReliabilityNamesTests: each test and fuzz target that docs/reliability.md
// names is there (a name that ends with … is the beginning of one), and each
// test of what goes wrong in Buildbot is named.
func TestReliabilityNamesTests(t *testing.T) {
	t.Parallel()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(\w+ \*testing\.[TF]\)`)
	var tests []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			tests = append(tests, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+…?`).FindAllString(string(page), -1) {
		beginning, cut := strings.CutSuffix(name, "…")
		found := false
		for _, test := range tests {
			if test == name || cut && strings.HasPrefix(test, beginning) {
				found, named[test] = true, true
			}
		}
		if !found {
			t.Errorf("there is no test %s", name)
		}
	}
	if len(named) < 40 {
		t.Errorf("only %d tests are named", len(named))
	}
	defects := 0
	for _, test := range tests {
		if strings.HasPrefix(test, "TestBuildbotDefect") {
			defects++
			if !named[test] {
				t.Errorf("%s is not named", test)
			}
		}
	}
	if defects != 17 {
		t.Errorf("there are %d tests of defects", defects)
	}
}
