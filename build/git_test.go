package build_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
)

// repo is a real repository with three commits: two on main, one on topic.
type repo struct {
	t                    testing.TB
	dir                  string
	first, second, topic string
}

func newRepository(t testing.TB) *repo {
	t.Helper()
	r := &repo{t: t, dir: filepath.Join(t.TempDir(), "repo")}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("init", "-q", "-b", "main")
	r.git("config", "uploadpack.allowAnySHA1InWant", "true")
	r.first = r.commit("one")
	r.git("checkout", "-q", "-b", "topic")
	r.topic = r.commit("topic")
	r.git("checkout", "-q", "main")
	r.second = r.commit("two")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) commit(text string) string {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "file"), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.git("add", "file")
	r.git("commit", "-q", "-m", text)
	return r.git("rev-parse", "HEAD")
}

func gitStep(a dormouse.Git) dormouse.StepSpec {
	return dormouse.StepSpec{Action: a, HaltOnFailure: true, FlunkOnFailure: true}
}

// checkOut runs a Git step and returns what was run.
func (f *farm) checkOut(t testing.TB, a dormouse.Git, sources ...dormouse.SourceStamp) (*memory, build.Outcome) {
	t.Helper()
	m := &memory{}
	job := f.job(gitStep(a))
	job.Request.Sources = sources
	return m, f.run(t, m, job, nil)
}

func (f *farm) file(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "x", "build", name))
	if os.IsNotExist(err) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGit(t *testing.T) {
	r := newRepository(t)
	for _, mode := range [][2]string{{"incremental", ""}, {"full", "clobber"}, {"full", "fresh"}, {"full", "clean"}, {"full", "copy"}, {"full", ""}} {
		t.Run(mode[0]+" "+mode[1], func(t *testing.T) {
			f := newFarm(t)
			a := dormouse.Git{RepoURL: r.dir, Mode: mode[0], Method: mode[1]}
			for _, want := range []struct {
				stamp    dormouse.SourceStamp
				revision string
				file     string
			}{
				{dormouse.SourceStamp{Branch: "topic"}, r.topic, "topic"}, // a clone
				{dormouse.SourceStamp{}, r.second, "two"},
				{dormouse.SourceStamp{Revision: r.first}, r.first, "one"},
				{dormouse.SourceStamp{Branch: "main", Revision: r.topic}, r.topic, "topic"},
				{dormouse.SourceStamp{Branch: "refs/heads/main"}, r.second, "two"},
			} {
				// A tree that a build has soiled.
				dir := filepath.Join(f.dir, "x", "build")
				if _, err := os.Stat(dir); err == nil {
					for _, name := range []string{"file", "left"} {
						if err := os.WriteFile(filepath.Join(dir, name), []byte("soiled"), 0o644); err != nil {
							t.Fatal(err)
						}
					}
				}
				m, out := f.checkOut(t, a, want.stamp)
				if out.Result != dormouse.Success {
					t.Fatalf("%+v: %+v\n%s", want.stamp, out, m.text(0))
				}
				if got := m.props["got_revision"]; got != (dormouse.Property{Value: want.revision, Source: "Git"}) {
					t.Errorf("%+v: got_revision %v, want %s", want.stamp, got, want.revision)
				}
				if got := f.file(t, "file"); got != want.file {
					t.Errorf("%+v: file has %q, want %q", want.stamp, got, want.file)
				}
			}
			left := "absent"
			if mode[0] == "incremental" {
				left = "soiled"
			}
			if got := f.file(t, "left"); got != left {
				t.Errorf("a file that git does not know is %s, want %s", got, left)
			}
		})
	}
}

func TestGitFromTheStart(t *testing.T) {
	r := newRepository(t)
	for name, stamp := range map[string]dormouse.SourceStamp{
		r.second: {}, r.first: {Revision: r.first}, r.topic: {Branch: "refs/heads/topic"},
	} {
		for _, shallow := range []int{0, 1} {
			t.Run(fmt.Sprintf("%+v shallow=%d", stamp, shallow), func(t *testing.T) {
				f := newFarm(t)
				m, out := f.checkOut(t, dormouse.Git{RepoURL: "file://" + r.dir, Mode: "full", Method: "clobber", Shallow: shallow}, stamp)
				if out.Result != dormouse.Success || m.props["got_revision"].Value != name {
					t.Fatalf("%+v, %v\n%s", out, m.props, m.text(0))
				}
				if m.steps[0].StateString != "update" || m.steps[0].Name != "git" {
					t.Errorf("step %+v", m.steps[0])
				}
			})
		}
	}
}

func TestGitReplacesWhatIsNoRepository(t *testing.T) {
	r, f := newRepository(t), newFarm(t)
	dir := filepath.Join(f.dir, "x", "build")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	m, out := f.checkOut(t, dormouse.Git{RepoURL: r.dir, Mode: "incremental"})
	if out.Result != dormouse.Success || f.file(t, "left") != "absent" || f.file(t, "file") != "two" {
		t.Errorf("%+v\n%s", out, m.text(0))
	}
}

func TestGitOfCodebases(t *testing.T) {
	r, f := newRepository(t), newFarm(t)
	m := &memory{}
	job := f.job(
		gitStep(dormouse.Git{RepoURL: r.dir, Mode: "incremental", Codebase: "a", WorkDir: "a"}),
		gitStep(dormouse.Git{RepoURL: r.dir, Mode: "incremental", Codebase: "b", WorkDir: "b"}),
	)
	job.Request.Sources = []dormouse.SourceStamp{{Codebase: "a"}, {Codebase: "b", Branch: "topic"}}
	if out := f.run(t, m, job, nil); out.Result != dormouse.Success {
		t.Fatalf("%+v\n%s", out, m.text(0))
	}
	want := map[string]any{"a": r.second, "b": r.topic}
	if diff := cmp.Diff(want, m.props["got_revision"].Value); diff != "" {
		t.Errorf("got_revision (-want +got):\n%s", diff)
	}
	if m.steps[1].StateString != "update b" {
		t.Errorf("state %q", m.steps[1].StateString)
	}
}

func TestGitSubmodules(t *testing.T) {
	lib, r, f := newRepository(t), newRepository(t), newFarm(t)
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", lib.dir, "lib")
	r.git("commit", "-q", "-m", "submodule")
	allow := map[string]any{"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}
	for range 2 { // a clone, then an update
		m, out := f.checkOut(t, dormouse.Git{RepoURL: r.dir, Mode: "full", Method: "fresh", Submodules: true, Env: allow})
		if out.Result != dormouse.Success || f.file(t, "lib/file") != "two" {
			t.Fatalf("%+v\n%s", out, m.text(0))
		}
	}
}

func TestGitFails(t *testing.T) {
	r := newRepository(t)
	missing := filepath.Join(t.TempDir(), "none.git")
	tests := []struct {
		name   string
		git    dormouse.Git
		stamp  dormouse.SourceStamp
		result dormouse.Result
		says   []string
		hides  string
	}{
		{
			name: "no repository", git: dormouse.Git{RepoURL: missing}, result: dormouse.Failure,
			says: []string{"hcheckout of " + missing + " failed", "there is no repository at " + missing},
		},
		{
			name: "no branch", git: dormouse.Git{RepoURL: r.dir, Branch: "nope"}, result: dormouse.Failure,
			says: []string{"(branch nope) failed", "branch nope is not in " + r.dir},
		},
		{
			name: "no revision", git: dormouse.Git{RepoURL: r.dir}, stamp: dormouse.SourceStamp{Revision: strings.Repeat("1", 40)}, result: dormouse.Failure,
			says: []string{"revision 1111", "is not in " + r.dir},
		},
		{
			name: "an option for a URL", git: dormouse.Git{RepoURL: "--upload-pack=touch pwned"}, result: dormouse.Exception,
			says: []string{"is not a repository's URL"},
		},
		{
			name: "an option for a branch", git: dormouse.Git{RepoURL: r.dir}, stamp: dormouse.SourceStamp{Branch: "--force"}, result: dormouse.Exception,
			says: []string{`"--force" is not a branch's name`},
		},
		{
			name: "an option for a revision", git: dormouse.Git{RepoURL: r.dir}, stamp: dormouse.SourceStamp{Revision: "-b"}, result: dormouse.Exception,
			says: []string{`"-b" is not a revision`},
		},
		{
			name: "a password", git: dormouse.Git{RepoURL: "http://me:hunter2@127.0.0.1:1/r.git"}, result: dormouse.Failure,
			says: []string{"checkout of http://me:xxxxx@127.0.0.1:1/r.git failed"}, hides: "hunter2",
		},
		{
			name: "a token", git: dormouse.Git{RepoURL: "http://ghp_0123456789@127.0.0.1:1/r.git"}, result: dormouse.Failure,
			says: []string{"checkout of http://xxxxx@127.0.0.1:1/r.git failed"}, hides: "ghp_0123456789",
		},
		{
			name: "no codebase", git: dormouse.Git{RepoURL: r.dir, Codebase: "lib"}, result: dormouse.Exception,
			says: []string{"no source of codebase lib"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.git.Mode = "incremental"
			f := newFarm(t)
			m, out := f.checkOut(t, tt.git, tt.stamp)
			if out.Result != tt.result {
				t.Errorf("outcome %+v, want %v", out, tt.result)
			}
			for _, want := range tt.says {
				if !strings.Contains(m.text(0), want) {
					t.Errorf("the log does not say %q:\n%s", want, m.text(0))
				}
			}
			if tt.hides != "" && strings.Contains(m.text(0)+out.StateString+m.steps[0].StateString, tt.hides) {
				t.Errorf("the log shows %q:\n%s", tt.hides, m.text(0))
			}
		})
	}
}

func TestGitSaysWhatToDoAboutOwnership(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give a repository to another user")
	}
	r, f := newRepository(t), newFarm(t)
	for _, path := range []string{r.dir, filepath.Join(r.dir, ".git")} {
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	m, out := f.checkOut(t, dormouse.Git{RepoURL: r.dir, Mode: "incremental"})
	if out.Result == dormouse.Success {
		t.Skip("this git trusts everyone")
	}
	if !strings.Contains(m.text(0), "git config --global --add safe.directory '"+r.dir) {
		t.Errorf("%+v\n%s", out, m.text(0))
	}
}
