package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// componentMakefile tests and packages a component.
const componentMakefile = `test:
	grep -q . ../common/motto
	echo "ok %[1]s" | tee report.log

package:
	mkdir -p dist
	printf '%%s of %[1]s: ' $(VERSION) | cat - source ../common/motto >dist/%[1]s.txt
`

// TestExampleMonorepo has a build find out what has changed, and build that.
func TestExampleMonorepo(t *testing.T) {
	s := newExampleSite(t)
	files := map[string]string{"common/motto": "sleep well\n", "README": "Everything.\n"}
	components := []string{"api", "site", "tools"}
	for _, name := range components {
		files[name+"/Makefile"] = fmt.Sprintf(componentMakefile, name)
		files[name+"/source"] = "the " + name + ", "
	}
	first := s.commit("main", files)
	two := s.commit("main", map[string]string{"api/source": "the new api, ", "site/source": "the new site, "})
	s.start("monorepo")

	// check follows a build that looks, and those that it has triggered.
	check := func(request int64, revision string, changed int, want ...string) {
		t.Helper()
		parent := s.ended(request, dormouse.Success)
		parent.has(map[string]any{"components": want, "changed_files": changed, "got_revision": revision})
		children, err := s.Requests(t.Context(), web.RequestQuery{Parent: parent.ID, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		var built []string
		for _, r := range children {
			b := s.ended(r.ID, dormouse.Success)
			built = append(built, b.Builder)
			b.has(map[string]any{
				"component": b.Builder, "got_revision": revision, "repository": "file://" + s.repo,
				"wanted_by": fmt.Sprintf("changes/%d", parent.Number), "release": parent.Properties["release"].Value,
			})
			if b.StartedAt.Before(parent.StartedAt) || b.FinishedAt.After(parent.FinishedAt) {
				t.Errorf("%s ran from %v to %v, and who waited for it from %v to %v", b.Builder, b.StartedAt, b.FinishedAt, parent.StartedAt, parent.FinishedAt)
			}
			if got := b.log("make", "test"); !strings.Contains(got, "ok "+b.Builder) {
				t.Errorf("the log of %s's test is\n%s", b.Builder, got)
			}
			kept := b.artifacts()
			if got, want := artifactNames(kept), artifactNames(map[string][]byte{b.Builder + "/" + b.Builder + ".txt": nil, b.Builder + "/report.log": nil}); got != want {
				t.Fatalf("artifacts %s, not %s", got, want)
			}
			text := string(kept[b.Builder+"/"+b.Builder+".txt"])
			if !strings.HasPrefix(text, revision+" of "+b.Builder+": the ") || !strings.HasSuffix(text, b.Builder+", sleep well\n") {
				t.Errorf("%s packaged %q", b.Builder, text)
			}
			if got := string(kept[b.Builder+"/report.log"]); got != "ok "+b.Builder+"\n" {
				t.Errorf("%s reports %q", b.Builder, got)
			}
		}
		slices.Sort(built)
		if !slices.Equal(built, want) {
			t.Errorf("built were %v, not %v", built, want)
		}
		if got := parent.result("trigger"); len(want) == 0 && got != dormouse.Skipped {
			t.Errorf("with nothing to trigger, the step ended with %v", got)
		}
	}

	check(s.force(web.ForceRequest{Builder: "changes"}), two, 2, "api", "site")
	check(s.force(web.ForceRequest{Builder: "changes", Properties: map[string]any{"since": "HEAD"}}), two, 0)
	three := s.commit("main", map[string]string{"common/other": "a file of all\n"})
	check(s.force(web.ForceRequest{Builder: "changes"}), three, 1, components...)

	// Two that wait for the same workers: the one for a release goes first.
	s.pauseMakers(true)
	plain := s.force(web.ForceRequest{Builder: "changes", Properties: map[string]any{"since": first}})
	s.untilWaiting(plain)
	release := s.force(web.ForceRequest{Builder: "changes", Properties: map[string]any{"since": "HEAD~1", "release": true}})
	s.untilWaiting(release)
	s.pauseMakers(false)
	check(plain, three, 3, components...)
	check(release, three, 1, components...)
	builds, err := s.Builds(t.Context(), web.BuildQuery{Builder: "api", Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range builds { // the newest first
		full, err := s.Build(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got := full.Properties["release"].Value; got != (i == 1) {
			t.Errorf("build api/%d has release=%v", b.Number, got)
		}
	}

	ledger := s.end()
	roles := map[string]int{}
	for _, i := range ledger.Instances {
		roles[i.Tags["Role"]]++
		if want := map[string]string{"planner": "t3.small", "maker": "m7i.large"}[i.Tags["Role"]]; i.InstanceType != want {
			t.Errorf("instance %+v is no %s", i, want)
		}
	}
	if roles["planner"] < 2 || roles["planner"] > 3 || roles["maker"] < 1 || roles["maker"] > 4 {
		t.Errorf("instances by role: %v", roles)
	}
}

func (s *exampleSite) pauseMakers(paused bool) {
	s.t.Helper()
	for i := range 4 {
		if err := s.PauseWorker(s.t.Context(), fmt.Sprintf("maker-%d", i+1), paused); err != nil {
			s.t.Fatal(err)
		}
	}
}

// untilWaiting waits until a request's build has triggered its three.
func (s *exampleSite) untilWaiting(request int64) {
	s.t.Helper()
	s.until("what was triggered", func() bool {
		builds, err := s.Builds(s.t.Context(), web.BuildQuery{Builder: "changes", Running: new(true), Limit: 10})
		if err != nil {
			s.t.Fatal(err)
		}
		at := slices.IndexFunc(builds, func(b dormouse.Build) bool { return b.RequestID == request })
		if at < 0 {
			return false
		}
		waiting, err := s.Requests(s.t.Context(), web.RequestQuery{Parent: builds[at].ID, Limit: 10})
		return err == nil && len(waiting) == 3
	})
}
