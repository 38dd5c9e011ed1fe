package build_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/internal/procs"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// write writes a file of the checkout.
func (f *farm) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(f.dir, "x", "build", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// gitIn asks git about a directory of the builder's.
func (f *farm) gitIn(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = filepath.Join(f.dir, "x", dir)
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Join(f.dir, "x"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "failed: " + string(out)
	}
	return strings.TrimSpace(string(out))
}

func (f *farm) mustCheckOut(t testing.TB, a dormouse.Git, sources ...dormouse.SourceStamp) *memory {
	t.Helper()
	m, out := f.checkOut(t, a, sources...)
	if out.Result != dormouse.Success {
		t.Fatalf("%+v: %+v\n%s", a, out, m.text(0))
	}
	return m
}

// allowFiles lets git take submodules from this machine.
var allowFiles = map[string]any{"protocol.file.allow": "always"}

// TestGitMethodsAgainstADirtyTree says what each method leaves of what a build
// has made: files that git knows, does not know, and ignores, also in submodules
// of submodules.
func TestGitMethodsAgainstADirtyTree(t *testing.T) {
	deep, lib, r := newRepository(t), newRepository(t), newRepository(t)
	allow := []string{"-c", "protocol.file.allow=always"}
	for _, in := range []*repo{deep, lib, r} {
		if err := os.WriteFile(filepath.Join(in.dir, ".gitignore"), []byte("ignored\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		in.git("add", ".gitignore")
		in.git("commit", "-q", "-m", "ignore")
	}
	lib.git(append(allow, "submodule", "add", "-q", deep.dir, "deep")...)
	lib.git("commit", "-q", "-m", "submodule")
	r.git(append(allow, "submodule", "add", "-q", lib.dir, "lib")...)
	r.git("commit", "-q", "-m", "submodule")

	for _, tt := range []struct {
		mode, method     string
		unknown, ignored bool // is left
		submodule        bool // is left when it is no more
	}{
		{"incremental", "", true, true, true},
		{"full", "clean", false, true, false},
		{"full", "fresh", false, false, false},
		{"full", "clobber", false, false, false},
		{"full", "copy", false, false, true}, // in its source, as in incremental mode
	} {
		t.Run(tt.mode+" "+tt.method, func(t *testing.T) {
			f := newFarm(t)
			a := dormouse.Git{RepoURL: r.dir, Mode: tt.mode, Method: tt.method, Submodules: true, Config: allowFiles}
			f.mustCheckOut(t, a)
			for _, dir := range []string{"", "lib/", "lib/deep/"} {
				for _, name := range []string{"file", "unknown", "ignored", "unknown.d/x"} {
					f.write(t, dir+name, "soiled")
				}
			}
			f.mustCheckOut(t, a)
			for _, dir := range []string{"", "lib/", "lib/deep/"} {
				for name, left := range map[string]bool{"unknown": tt.unknown, "unknown.d/x": tt.unknown, "ignored": tt.ignored} {
					if got := f.file(t, dir+name); (got == "soiled") != left {
						t.Errorf("%s%s is %q", dir, name, got)
					}
				}
				if got := f.file(t, dir+"file"); got != "two" {
					t.Errorf("%sfile is %q", dir, got)
				}
			}
			// A submodule that is no more.
			f.mustCheckOut(t, a, dormouse.SourceStamp{Revision: r.second})
			if _, err := os.Stat(filepath.Join(f.dir, "x", "build", "lib")); (err == nil) != tt.submodule {
				t.Errorf("the submodule that is no more: %v", err)
			}
		})
	}
}

func TestGitCopiesFromSource(t *testing.T) {
	r, f := newRepository(t), newFarm(t)
	a := dormouse.Git{RepoURL: r.dir, Mode: "full", Method: "copy"}
	f.mustCheckOut(t, a)
	kept := filepath.Join(f.dir, "x", "source", "kept")
	if err := os.WriteFile(kept, []byte("by the source"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := f.mustCheckOut(t, a, dormouse.SourceStamp{Branch: "topic"})
	if got := f.file(t, "kept"); got != "by the source" || f.file(t, "file") != "topic" || m.props["got_revision"].Value != r.topic {
		t.Errorf("kept is %q, file %q, %v", got, f.file(t, "file"), m.props)
	}
	a.WorkDir = "source"
	if m, out := f.checkOut(t, a); out.Result != dormouse.Exception || !strings.Contains(m.text(0), "method copy cannot work in") {
		t.Errorf("%+v\n%s", out, m.text(0))
	}
}

// TestGitRendersMode: the mode and the method can be properties, as of a forced
// build.
func TestGitRendersMode(t *testing.T) {
	r, f := newRepository(t), newFarm(t)
	a := dormouse.Git{RepoURL: r.dir, Mode: expr.PropertyRef{Name: "mode", Default: "full"}, Method: expr.PropertyRef{Name: "method"}}
	f.mustCheckOut(t, a)
	for want, props := range map[string]dormouse.Properties{
		"absent":    {},
		"left":      {"mode": {Value: "incremental"}, "method": {Value: "clobber"}},
		"exception": {"mode": {Value: "--full"}},
		"exceptio2": {"method": {Value: "rm"}},
	} {
		f.write(t, "unknown", "left")
		m := &memory{}
		job := f.job(gitStep(a))
		job.Build.Properties = props
		out := f.run(t, m, job, nil)
		if bad := strings.HasPrefix(want, "ex"); bad != (out.Result == dormouse.Exception) || !bad && f.file(t, "unknown") != want {
			t.Errorf("%v: %+v, the file is %s\n%s", props, out, f.file(t, "unknown"), m.text(0))
		}
	}
}

func TestGitDescribes(t *testing.T) {
	r := newRepository(t)
	short := func(hash string) string { return r.git("rev-parse", "--short", hash) }
	r.git("tag", "light", r.first)
	r.git("tag", "-a", "-m", "x", "v1", r.first)
	r.git("tag", "-a", "-m", "x", "v1-rc1", r.first)
	describe := func(d dormouse.GitDescription) *dormouse.GitDescription { return &d }
	f := newFarm(t)
	for _, tt := range []struct {
		name     string
		d        *dormouse.GitDescription
		revision string
		want     any // nil where there is no property
	}{
		{"not asked for", nil, "", nil},
		{"plain", describe(dormouse.GitDescription{Match: []string{"v?"}}), "", "v1-1-g" + short(r.second)},
		{"exact", describe(dormouse.GitDescription{ExactMatch: true, Exclude: []string{"*-rc*"}}), r.first, "v1"},
		{"not exact", describe(dormouse.GitDescription{ExactMatch: true}), r.second, nil},
		{"light", describe(dormouse.GitDescription{Tags: true, Match: []string{"light"}}), r.first, "light"},
		{"light, but annotated alone", describe(dormouse.GitDescription{Match: []string{"light"}}), r.first, nil},
		{"always", describe(dormouse.GitDescription{Always: true, Match: []string{"none"}, Abbrev: new(12)}), r.second, r.second[:12]},
		{"long", describe(dormouse.GitDescription{Long: true, Match: []string{"v1"}}), r.first, "v1-0-g" + short(r.first)},
		{"no hash", describe(dormouse.GitDescription{Abbrev: new(0), Match: []string{"v1"}, FirstParent: true}), r.second, "v1"},
		{"all", describe(dormouse.GitDescription{All: true, Match: []string{"light"}}), r.first, "tags/light"},
		{"contains", describe(dormouse.GitDescription{Contains: true, Match: []string{"light"}}), r.first, "light"},
		{"no candidate", describe(dormouse.GitDescription{Candidates: new(0)}), r.second, nil},
		{"debug", describe(dormouse.GitDescription{Debug: true, Match: []string{"v1"}}), r.first, "v1"},
		{"clean", describe(dormouse.GitDescription{Dirty: new(""), Match: []string{"v1"}}), r.first, "v1"},
		{"an option for a pattern", describe(dormouse.GitDescription{Match: []string{"--all"}}), r.first, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := f.mustCheckOut(t, dormouse.Git{RepoURL: r.dir, Description: tt.d}, dormouse.SourceStamp{Revision: tt.revision})
			got, set := m.props["commit-description"]
			if set != (tt.want != nil) || got.Value != tt.want {
				t.Errorf("%v, want %v\n%s", got, tt.want, m.text(0))
			}
		})
	}
	t.Run("dirty", func(t *testing.T) {
		// What a hook changes is changed before git describes it.
		f := newFarm(t)
		f.mustCheckOut(t, dormouse.Git{RepoURL: r.dir})
		hook := filepath.Join(f.dir, "x", "build", ".git", "hooks", "post-checkout")
		if err := procs.WriteProgram(hook, []byte("#!/bin/sh\necho changed >>file\n")); err != nil {
			t.Fatal(err)
		}
		m := f.mustCheckOut(t, dormouse.Git{RepoURL: r.dir, Description: describe(dormouse.GitDescription{Dirty: new("-soiled"), Match: []string{"v1"}})})
		if got := m.props["commit-description"].Value; got != "v1-1-g"+short(r.second)+"-soiled" {
			t.Errorf("%v\n%s", got, m.text(0))
		}
	})
	t.Run("codebases", func(t *testing.T) {
		m := &memory{}
		d := describe(dormouse.GitDescription{Match: []string{"v1"}})
		job := f.job(
			gitStep(dormouse.Git{RepoURL: r.dir, Codebase: "a", WorkDir: "a", Description: d}),
			gitStep(dormouse.Git{RepoURL: r.dir, Codebase: "b", WorkDir: "b", Description: d}),
		)
		job.Request.Sources = []dormouse.SourceStamp{{Codebase: "a", Revision: r.first}, {Codebase: "b"}}
		if out := f.run(t, m, job, nil); out.Result != dormouse.Success {
			t.Fatalf("%+v\n%s", out, m.text(0))
		}
		want := dormouse.Property{Value: map[string]any{"a": "v1", "b": "v1-1-g" + short(r.second)}, Source: "Git"}
		if diff := cmp.Diff(want, m.props["commit-description"]); diff != "" {
			t.Errorf("commit-description (-want +got):\n%s", diff)
		}
	})
}

func TestGitUsesTheLatest(t *testing.T) {
	r, f := newRepository(t), newFarm(t)
	m := f.mustCheckOut(t, dormouse.Git{RepoURL: r.dir, Branch: "topic", AlwaysUseLatest: true}, dormouse.SourceStamp{Branch: "main", Revision: r.first})
	if m.props["got_revision"].Value != r.topic {
		t.Errorf("%v", m.props)
	}
	m = f.mustCheckOut(t, dormouse.Git{RepoURL: r.dir, AlwaysUseLatest: true, Codebase: "not in the build"})
	if diff := cmp.Diff(map[string]any{"not in the build": r.second}, m.props["got_revision"].Value); diff != "" {
		t.Error(diff)
	}
}

func TestGitPartialClone(t *testing.T) {
	r := newRepository(t)
	h := newHosting(t, hostingToken)
	url := h.add(r, "r.git")
	moved := h.add(r, "moved.git")
	f := newFarm(t)
	missing := func() int {
		return strings.Count(f.gitIn(t, "build", "rev-list", "--objects", "--all", "--missing=print"), "?")
	}
	for _, tt := range []struct {
		url    string
		git    dormouse.Git
		stamp  dormouse.SourceStamp
		file   string
		remote string
	}{
		{url, dormouse.Git{Mode: "full", Method: "clobber", Filters: []string{"blob:none"}}, dormouse.SourceStamp{}, "two", "origin"},
		{url, dormouse.Git{Mode: "full", Method: "fresh", Filters: []string{"blob:none"}}, dormouse.SourceStamp{Branch: "topic"}, "topic", "origin"},
		{moved, dormouse.Git{Filters: []string{"blob:none"}}, dormouse.SourceStamp{Revision: r.first}, "one", "origin"},
		{url, dormouse.Git{Mode: "full", Method: "clobber", Filters: []string{"blob:none", "tree:0"}, Origin: "up/stream"}, dormouse.SourceStamp{Revision: r.first}, "one", "up/stream"},
	} {
		tt.git.RepoURL, tt.git.Credentials = tt.url, tokenCredentials()
		job := f.job(gitStep(tt.git))
		job.Secret = secretToken
		job.Request.Sources = []dormouse.SourceStamp{tt.stamp}
		m := &memory{}
		if out := f.run(t, m, job, nil); out.Result != dormouse.Success || f.file(t, "file") != tt.file {
			t.Fatalf("%+v: %+v, file %q\n%s", tt.git, out, f.file(t, "file"), m.text(0))
		}
		if got := f.gitIn(t, "build", "config", "remote."+tt.remote+".url"); got != tt.url {
			t.Errorf("the remote is %s, want %s", got, tt.url)
		}
		if tt.stamp.Branch == "" && tt.stamp.Revision == "" && missing() == 0 {
			t.Errorf("nothing is left out:\n%s", m.text(0))
		}
	}
}

func TestGitReference(t *testing.T) {
	r, f := newRepository(t), newFarm(t)
	mirror := filepath.Join(t.TempDir(), "a mirror")
	r.git("clone", "-q", "--mirror", r.dir, mirror)
	f.mustCheckOut(t, dormouse.Git{RepoURL: "file://" + r.dir, Reference: mirror, Origin: "upstream"})
	if got := f.file(t, ".git/objects/info/alternates"); strings.TrimSpace(got) != filepath.Join(mirror, "objects") {
		t.Errorf("alternates: %q", got)
	}
	if got := f.gitIn(t, "build", "remote"); got != "upstream" {
		t.Errorf("the remote is %q", got)
	}
	f.mustCheckOut(t, dormouse.Git{RepoURL: "file://" + r.dir, Reference: mirror, Origin: "upstream"}, dormouse.SourceStamp{Branch: "topic"})
	if f.file(t, "file") != "topic" {
		t.Error(f.file(t, "file"))
	}
}

func TestGitTags(t *testing.T) {
	r := newRepository(t)
	for _, tt := range []struct {
		name     string
		tags     *bool
		revision string
		all      bool // a tag of another branch is there
	}{
		{"by default", nil, "", true},
		{"by default, with nothing to build", nil, r.second, true},
		{"all", new(true), r.second, true},
		{"not all", new(false), "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFarm(t)
			f.mustCheckOut(t, dormouse.Git{RepoURL: r.dir})
			tag := strings.ReplaceAll(tt.name, " ", "-")
			r.git("checkout", "-q", "--detach", "topic")
			r.commit(tag)
			r.git("tag", tag)
			r.git("checkout", "-q", "main")
			f.mustCheckOut(t, dormouse.Git{RepoURL: r.dir, Tags: tt.tags}, dormouse.SourceStamp{Revision: tt.revision})
			if got := f.gitIn(t, "build", "tag", "-l", tag); (got == tag) != tt.all {
				t.Errorf("the tag is %q", got)
			}
		})
	}
	t.Run("all of a shallow clone", func(t *testing.T) {
		f := newFarm(t)
		r.git("tag", "old", r.first)
		f.mustCheckOut(t, dormouse.Git{RepoURL: "file://" + r.dir, Mode: "full", Method: "clobber", Shallow: 1, Tags: new(true)})
		if got := f.gitIn(t, "build", "tag", "-l", "old"); got != "old" {
			t.Errorf("the tag is %q", got)
		}
	})
}

func TestGitConfig(t *testing.T) {
	r, f := newRepository(t), newFarm(t)
	lib := newRepository(t)
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", lib.dir, "lib")
	r.git("config", "-f", ".gitmodules", "submodule.lib.url", "moved:lib")
	r.git("add", ".gitmodules")
	r.git("commit", "-q", "-m", "submodule")
	m := f.mustCheckOut(t, dormouse.Git{RepoURL: "moved:" + r.dir, Submodules: true, Config: map[string]any{
		"protocol.allow": "always", "url." + lib.dir + ".insteadOf": "moved:lib", "url./.insteadOf": expr.PropertyRef{Name: "old", Default: "moved:/"},
	}})
	if f.file(t, "lib/file") != "two" {
		t.Errorf("no submodule\n%s", m.text(0))
	}
	if got := f.gitIn(t, "build", "config", "--local", "--get-regexp", "url.*"); strings.Contains(got, "insteadof") {
		t.Errorf("it is kept: %s", got)
	}
	for says, a := range map[string]dormouse.Git{
		"does not name anything": {RepoURL: r.dir, Config: map[string]any{"core.x=alias.y": "x"}},
		"cannot be set":          {RepoURL: r.dir, Config: map[string]any{"Protocol.ext.allow": "always"}},
		"NUL":                    {RepoURL: r.dir, Config: map[string]any{"core.x": "a\x00b"}},
		"not a repository's URL": {RepoURL: "ext::touch pwned", Config: map[string]any{"protocol.allow": "always"}},
		"a remote":               {RepoURL: r.dir, Origin: "--upload-pack=touch pwned"},
		"repository's path":      {RepoURL: r.dir, Reference: "--upload-pack=touch pwned"},
		"not a filter":           {RepoURL: r.dir, Filters: []string{"--upload-pack=touch pwned"}},
	} {
		if m, out := f.checkOut(t, a); out.Result != dormouse.Exception || !strings.Contains(m.text(0), says) {
			t.Errorf("%+v, want %q:\n%s", out, says, m.text(0))
		}
	}
}

// TestGitRefusesCommandsInSubmodules: not even a configuration that allows all
// protocols allows a submodule to be a command.
func TestGitRefusesCommandsInSubmodules(t *testing.T) {
	r, lib, f := newRepository(t), newRepository(t), newFarm(t)
	pwned := filepath.Join(t.TempDir(), "pwned")
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", lib.dir, "lib")
	r.git("config", "-f", ".gitmodules", "submodule.lib.url", "ext::touch "+pwned)
	r.git("add", ".gitmodules")
	r.git("commit", "-q", "-m", "submodule")
	m, out := f.checkOut(t, dormouse.Git{RepoURL: r.dir, Submodules: true, Config: map[string]any{"protocol.allow": "always"}})
	if _, err := os.Stat(pwned); err == nil || out.Result != dormouse.Failure || !strings.Contains(m.text(0), "transport 'ext' not allowed") {
		t.Errorf("%v, %+v\n%s", err, out, m.text(0))
	}
}

func TestGitRemoteSubmodules(t *testing.T) {
	r, lib, f := newRepository(t), newRepository(t), newFarm(t)
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", "-b", "main", lib.dir, "lib")
	r.git("commit", "-q", "-m", "submodule")
	lib.commit("three")
	a := dormouse.Git{RepoURL: r.dir, Submodules: true, Config: allowFiles}
	f.mustCheckOut(t, a)
	if got := f.file(t, "lib/file"); got != "two" {
		t.Errorf("the submodule has %q", got)
	}
	a.RemoteSubmodules = true
	f.mustCheckOut(t, a)
	if got := f.file(t, "lib/file"); got != "three" {
		t.Errorf("the submodule has %q", got)
	}
	// It moves to another place.
	other := newRepository(t)
	other.commit("elsewhere")
	r.git("config", "-f", ".gitmodules", "submodule.lib.url", other.dir)
	r.git("add", ".gitmodules")
	r.git("commit", "-q", "-m", "moved")
	f.mustCheckOut(t, a)
	if got := f.file(t, "lib/file"); got != "elsewhere" {
		t.Errorf("the submodule has %q", got)
	}
}

// TestGitHealsARepository breaks a repository in ways that disks and killed
// processes do. It lies in another one, which must be left alone.
func TestGitHealsARepository(t *testing.T) {
	r := newRepository(t)
	breakage := map[string]func(git string) error{
		"no HEAD":    func(git string) error { return os.Remove(filepath.Join(git, "HEAD")) },
		"no objects": func(git string) error { return os.RemoveAll(filepath.Join(git, "objects")) },
		"a lock":     func(git string) error { return os.WriteFile(filepath.Join(git, "index.lock"), nil, 0o600) },
		"an index":   func(git string) error { return os.WriteFile(filepath.Join(git, "index"), []byte("broken"), 0o600) },
		"nothing in it": func(git string) error {
			if err := os.RemoveAll(git); err != nil {
				return err
			}
			return os.Mkdir(git, 0o755)
		},
	}
	for name, smash := range breakage {
		for _, mode := range [][2]string{{"incremental", ""}, {"full", "clean"}} {
			t.Run(name+" "+mode[1], func(t *testing.T) {
				f := newFarm(t)
				outer := &repo{t: t, dir: f.dir}
				outer.git("init", "-q", "-b", "outer")
				outer.git("commit", "-q", "--allow-empty", "-m", "outer")
				a := dormouse.Git{RepoURL: r.dir, Mode: mode[0], Method: mode[1]}
				f.mustCheckOut(t, a)
				if err := smash(filepath.Join(f.dir, "x", "build", ".git")); err != nil {
					t.Fatal(err)
				}
				m, out := f.checkOut(t, a, dormouse.SourceStamp{Branch: "topic"})
				if out.Result != dormouse.Success || f.file(t, "file") != "topic" {
					t.Errorf("%+v, file %q\n%s", out, f.file(t, "file"), m.text(0))
				}
				if cloned := strings.Contains(m.text(0), "to clone it anew"); cloned == (name == "a lock") {
					t.Errorf("cloned anew: %v\n%s", cloned, m.text(0))
				}
				if got := outer.git("branch", "-a"); got != "* outer" {
					t.Errorf("the repository around it: %s", got)
				}
			})
		}
	}
}

func TestGitShowsWhatItIsAskedTo(t *testing.T) {
	r, f := newRepository(t), newFarm(t)
	m := f.mustCheckOut(t, dormouse.Git{RepoURL: r.dir, LogEnviron: true, Progress: true, Env: map[string]any{"SHOWN": "once"}})
	if strings.Count(m.text(0), "  SHOWN=once") != 1 || !strings.Contains(m.text(0), "git clone --progress --no-checkout ") {
		t.Errorf("log:\n%s", m.text(0))
	}
	m = f.mustCheckOut(t, dormouse.Git{RepoURL: r.dir})
	if strings.Contains(m.text(0), "environment:") || strings.Contains(m.text(0), "--progress") {
		t.Errorf("log:\n%s", m.text(0))
	}
}
