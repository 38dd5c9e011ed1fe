package build_test

import (
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// What a secret, a property or a source stamp has of ${NAME} arrives as it is;
// what the configuration wrote is expanded.
func testLiteralVariables(t *testing.T, f *farm) {
	const odd = "p${HOME}\\q \\044${}$x\n\n"
	d := newDisk(t)
	show := `printf '%s|%s|%s|%s|%s|%s|%s|%s|' "$WRITTEN" "$FORCED" "$MIXED" "$BRANCH" "$LIST" "$OWN" "$SET" "$RENDERED"`
	line := sh("line", show)
	argv := line
	argv.Name = "argv"
	env := map[string]any{
		"WRITTEN": "${NOSUCH_}written",
		"FORCED":  expr.PropertyRef{Name: "forced"},
		"MIXED":   text(t, "${NOSUCH_}<%(prop:forced)s|%(secret:key)s>"),
		"BRANCH":  text(t, "%(src::branch)s"),
		"LIST":    []any{"a${NOSUCH_}", expr.PropertyRef{Name: "forced"}},
		"OWN":     []any{expr.PropertyRef{Name: "own"}, expr.PropertyRef{Name: "all"}},
		// By a step.
		"SET":      expr.PropertyRef{Name: "set"},
		"RENDERED": expr.PropertyRef{Name: "rendered"},
	}
	action := argv.Action.(dormouse.ShellCommand)
	action.Command = []any{"sh", "-c", show}
	argv.Action = action
	m := &memory{}
	job := f.job(
		step("set", dormouse.SetProperty{Values: map[string]any{"set": "${NOSUCH_}set"}}),
		step("render", dormouse.SetProperty{All: map[string]any{"rendered": expr.PropertyRef{Name: "forced"}}}),
		line, argv, step("master", dormouse.MasterShellCommand{Command: show, Env: env}))
	job.Builder.Env = env
	job.Builder.Properties = map[string]any{"own": "${NOSUCH_}own"}
	job.ConfiguredProperties = []map[string]any{{"all": "${NOSUCH_}all"}}
	job.Build.Properties.Set("all", "${NOSUCH_}all", "Config")
	job.Build.Properties.Set("own", "${NOSUCH_}own", "Builder")
	job.Build.Properties.Set("forced", odd, "Force Build Form")
	job.Request.Sources = []dormouse.SourceStamp{{Branch: "b${HOME}"}}
	job.Secret = func(string) (string, error) { return "s${HOME}ecret", nil }
	f.files(t, m, d, job, nil)
	want := "written|" + odd + "|<" + odd + "|<key>>|b${HOME}|a:" + odd + "|own:all|set|" + odd + "|"
	for i, s := range m.steps {
		got := m.stdout(i)
		if i < 2 {
			continue // they set properties
		}
		if strings.TrimRight(got, "\n") != want {
			t.Errorf("%s printed %q, want %q\n%s", s.Name, got, want, m.text(i))
		}
		if strings.Contains(m.text(i), "ecret") {
			t.Errorf("%s shows the secret:\n%s", s.Name, m.text(i))
		}
	}
}

func TestLiteralVariables(t *testing.T) { testLiteralVariables(t, newFarm(t)) }

func TestLiteralVariablesOnAStockWorker(t *testing.T) { testLiteralVariables(t, newStockFarm(t)) }

func TestShortSecretsHideNothing(t *testing.T) {
	f := newFarm(t)
	m := &memory{}
	job := f.job(sh("show", `printf '{"a": [1]} and }\nabc\n%s\n' "$S"`))
	job.Builder.Env = map[string]any{"S": expr.SecretRef{Name: "json"}, "T": expr.SecretRef{Name: "short"}}
	job.Secret = func(name string) (string, error) {
		if name == "short" {
			return "abc", nil
		}
		return "{\n  \"key\": \"value\"\n}\n", nil
	}
	f.run(t, m, job, nil)
	if got, want := m.stdout(0), "{\"a\": [1]} and }\nabc\n{\n  <json>\n}\n\n"; got != want {
		t.Errorf("printed %q, want %q\n%s", got, want, m.text(0))
	}
}

// A secret that is a part of a commit's name does not change the name.
func TestSecretInACommit(t *testing.T) {
	f, r := newFarm(t), newRepository(t)
	m := &memory{}
	job := f.job(sh("secret", "true"), gitStep(dormouse.Git{RepoURL: r.dir}))
	job.Builder.Env = map[string]any{"S": expr.SecretRef{Name: "pin"}}
	job.Secret = func(string) (string, error) { return r.second[:4], nil }
	f.run(t, m, job, nil)
	if got := m.props["got_revision"].Value; got != r.second {
		t.Errorf("got_revision is %v, and the commit %s\n%s", got, r.second, m.text(1))
	}
}
