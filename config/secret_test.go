package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A secret that logs cannot hide is warned of where a build uses it, and not
// where the master alone does.
func TestShortSecretWarning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pin": "123", "long": "1234", "json": "{\n  \"key\": \"value\"\n}\n", "lines": "long enough\nno\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts := testOptions()
	opts.SecretsDir = dir
	for use, want := range map[string]string{
		"util.BuildFactory([steps.ShellCommand(command='x', env={'S': util.Secret('pin')})])":                               `"pin"`,
		"util.BuildFactory([steps.ShellCommand(command='x', env={'S': util.Secret('long')})])":                              "",
		"util.BuildFactory([steps.ShellCommand(command='x', env={'S': util.Secret('json')})])":                              "",
		"util.BuildFactory([steps.ShellCommand(command=util.Interpolate('x %(secret:lines)s'))])":                           `"lines"`,
		"util.BuildFactory([steps.ShellCommand(command=['x', util.Interpolate('%s', util.Secret('lines'))])])":              `"lines"`,
		"c['workers'].append(worker.Worker('w2', util.Secret('pin')))":                                                      "",
		"util.BuildFactory([steps.ShellCommand(command='x', env={'S': util.Interpolate('%(secret:lines:-%(prop:x)s)s')})])": `"lines"`,
	} {
		m, err := Parse("m.star", minimal(use), opts)
		if err != nil {
			t.Errorf("%s: %v", use, err)
			continue
		}
		var got strings.Builder
		for _, w := range m.Warnings {
			if strings.Contains(w.Message, "secret") {
				got.WriteString(w.Error())
			}
		}
		if want == "" && got.Len() > 0 || !strings.Contains(got.String(), want) || strings.Count(got.String(), "shorter than 4") > 1 {
			t.Errorf("%s: warned %q, want %s", use, got.String(), want)
		}
	}
}
