package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
)

// TestGitHints: the line that explains a failure is of the command that failed.
func TestGitHints(t *testing.T) {
	t.Parallel()
	refusing := func(s *server) {
		s.git("-C", s.bare, "config", "uploadpack.allowAnySHA1InWant", "false")
		s.git("update-ref", "refs/keep/closed", s.on("closed", "closed"))
		s.on("main", "three")
		s.git("branch", "-D", "closed")
	}
	// What git before 2.26 speaks, and servers that give nothing else by its name.
	old := map[string]any{"protocol.version": "0", "protocol.file.allow": "always"}
	for _, tt := range []struct {
		name string
		make func(s *server)
		git  dormouse.Git
		// stamp's revision "=NAME" is the commit that NAME is in the repository to work in.
		stamp dormouse.SourceStamp
		says  string
	}{
		{"a refused commit", refusing, dormouse.Git{Config: old}, dormouse.SourceStamp{Branch: "closed", Revision: "=refs/keep/closed"}, "by its name, and it is on no branch"},
		{
			"a refused commit, shallow", refusing,
			dormouse.Git{Config: old, Shallow: 1, Mode: "full", Method: "clobber"},
			dormouse.SourceStamp{Branch: "main", Revision: "=main~1"},
			"it is not among the last 1 commits",
		},
		{"a branch without a commit", nil, dormouse.Git{Shallow: 1}, dormouse.SourceStamp{Branch: "none"}, "branch none is not in"},
		{"no default branch", func(s *server) {
			s.git("-C", s.bare, "symbolic-ref", "HEAD", "refs/heads/none")
		}, dormouse.Git{}, dormouse.SourceStamp{}, "its HEAD names a branch that is not there"},
		{"a submodule's repository is gone", func(s *server) {
			s.submodule()
			if err := os.RemoveAll(s.lib.bare); err != nil {
				s.t.Fatal(err)
			}
		}, dormouse.Git{Submodules: true, Config: allowFiles}, dormouse.SourceStamp{Branch: "main"}, "there is no repository at submodule lib, file://"},
		{"a submodule's commit is gone", func(s *server) {
			s.submodule()
			s.git("-C", "lib", "commit", "-q", "--allow-empty", "-m", "not pushed")
			s.git("add", "lib")
			s.on("main", "bump")
		}, dormouse.Git{Submodules: true, Config: allowFiles}, dormouse.SourceStamp{Branch: "main"}, "a commit that the repository names is not in submodule lib"},
		{
			"a submodule that git refuses", func(s *server) { s.submodule() },
			dormouse.Git{Submodules: true, Config: map[string]any{"protocol.file.allow": "user"}},
			dormouse.SourceStamp{Branch: "main"},
			"git refuses local submodules",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, f := newServer(t), newFarm(t)
			if tt.make != nil {
				tt.make(s)
				s.publish()
			}
			if what, ok := strings.CutPrefix(tt.stamp.Revision, "="); ok {
				tt.stamp.Revision = s.git("rev-parse", what)
			}
			tt.git.RepoURL = s.url
			m, out := f.checkOut(t, tt.git, tt.stamp)
			lines := strings.Split(strings.TrimSpace(m.text(0)), "\n")
			if last := lines[len(lines)-1]; out.Result != dormouse.Failure || !strings.Contains(last, tt.says) {
				t.Errorf("%+v, want %q:\n%s", out, tt.says, m.text(0))
			}
		})
	}
}

// submodule adds a submodule, "lib".
func (s *server) submodule() {
	s.t.Helper()
	s.lib = newServer(s.t)
	s.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", "--", s.lib.url, "lib")
	s.git("-C", "lib", "config", "user.name", "a")
	s.git("-C", "lib", "config", "user.email", "a@example.org")
	s.on("main", "with lib")
}

// TestGitHealsOnAStockWorker: what is done needs no agent of ours.
func TestGitHealsOnAStockWorker(t *testing.T) {
	s := newServer(t)
	s.submodule()
	s.publish()
	f := newStockFarm(t)
	a := dormouse.Git{RepoURL: s.url, Mode: "full", Method: "clean", Submodules: true, Config: allowFiles}
	f.mustCheckOut(t, a)
	for _, name := range []string{"index.lock", "refs/heads/main.lock", "modules/lib/index.lock", "modules/lib/rebase-apply/next", "rebase-merge/head-name"} {
		f.write(t, filepath.Join(".git", name), "")
	}
	f.mustCheckOut(t, a, dormouse.SourceStamp{Branch: "main"})
	for _, name := range []string{"index.lock", "refs/heads/main.lock", "modules/lib/index.lock", "modules/lib/rebase-apply/next", "rebase-merge/head-name"} {
		if got := f.file(t, filepath.Join(".git", name)); got != "absent" {
			t.Errorf("%s is left", name)
		}
	}
}
