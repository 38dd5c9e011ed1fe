package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the goldens in testdata anew")

// testOptions keep what a test sees of its surroundings the same everywhere.
func testOptions() Options {
	env := map[string]string{"HOME": "/home/ci", "DORMOUSE_SECRET_FROM_ENV": "env-secret"}
	return Options{
		BaseDir:    "base",
		SecretsDir: filepath.Join("testdata", "secrets"),
		Env:        func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}
}

// sources are the configurations in a directory of testdata, by name.
func sources(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.star"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations in testdata/%s: %v", dir, err)
	}
	out := make(map[string][]byte)
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = src
	}
	return out
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// TestBad reads wrong configurations, and compares all that is said of each.
func TestBad(t *testing.T) {
	unhurried(t)
	for name, src := range sources(t, "bad") {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(name, src, testOptions())
			errs, ok := errors.AsType[Errors](err)
			if !ok || len(errs) == 0 {
				t.Fatalf("error is %v, not Errors", err)
			}
			got := errs.Error() + "\n"
			if strings.Contains(strings.ToLower(got), "hunter") {
				t.Errorf("a password is shown:\n%s", got)
			}
			compareGolden(t, filepath.Join("testdata", "bad", strings.TrimSuffix(name, ".star")+".errors"), got)
		})
	}
}

// TestGood reads right configurations, and compares their values and warnings.
func TestGood(t *testing.T) {
	for name, src := range sources(t, "good") {
		t.Run(name, func(t *testing.T) {
			m, err := Parse(name, src, testOptions())
			if err != nil {
				t.Fatal(err)
			}
			shown := struct {
				*Master
				Secrets string // instead of the function in it
			}{m, m.Secrets.Dir}
			compareGolden(t, filepath.Join("testdata", "good", strings.TrimSuffix(name, ".star")+".json"), asJSON(t, shown))
		})
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
