package build_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

// server is a bare repository, and one to work in of which it is the mirror.
type server struct {
	*repo
	bare string
	url  string
	lib  *server // which it has as a submodule
}

func newServer(t testing.TB) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{repo: &repo{t: t, dir: filepath.Join(dir, "work")}, bare: filepath.Join(dir, "server.git")}
	s.url = "file://" + s.bare
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.git("init", "-q", "--bare", "-b", "main", s.bare)
	s.git("-C", s.bare, "config", "uploadpack.allowAnySHA1InWant", "true")
	s.git("init", "-q", "-b", "main")
	s.git("config", "protocol.file.allow", "always")
	s.git("config", "advice.detachedHead", "false")
	for _, dir := range []string{s.dir, s.bare} { // what git cleans up by itself takes longer than all the rest
		s.git("-C", dir, "config", "maintenance.auto", "false")
		s.git("-C", dir, "config", "receive.autogc", "false")
	}
	s.first = s.commit("one")
	s.second = s.commit("two")
	s.publish()
	return s
}

// publish makes the server's refs what they are in the repository to work in.
func (s *server) publish() {
	s.t.Helper()
	s.git("push", "-q", "--force", "--prune", s.bare, "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*", "refs/pull/*:refs/pull/*")
}

// on makes a commit on a branch, which is new or goes on.
func (s *server) on(branch, text string) string {
	s.t.Helper()
	if _, err := os.Stat(filepath.Join(s.dir, ".git/refs/heads", branch)); err == nil {
		s.git("checkout", "-q", branch, "--")
	} else {
		s.git("checkout", "-q", "-b", branch)
	}
	return s.commit(text)
}

func (s *server) writeFile(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.git("add", "--", name)
}

// built is one build in the life of a repository.
type built struct {
	change           func(s *server)                           // before the build; it is published
	smash            func(t testing.TB, dir, git string)       // what happens to the checkout before the build
	branch, revision string                                    // a revision "=NAME" is the commit that NAME is in the repository to work in
	want             string                                    // what it is in the repository to work in; "" fails
	on               string                                    // the local branch; "" is none
	says             string                                    // what the log says
	shallowSays      string                                    // what a shallow checkout says, and fails
	check            func(t testing.TB, f func(string) string) // of files in the checkout
}

// history is a repository's life, as far as a checkout can get it wrong.
type history struct {
	name       string
	kept       bool // it is of what is kept alone, whatever its depth
	submodules bool
	builds     []built
}

// checkoutKind is one of the ways to check out.
type checkoutKind struct {
	mode, method string
	shallow      int
}

func checkoutKinds() []checkoutKind {
	var out []checkoutKind
	for _, shallow := range []int{0, 1} {
		for _, m := range [][2]string{{"incremental", ""}, {"full", "clobber"}, {"full", "fresh"}, {"full", "clean"}, {"full", "copy"}} {
			if shallow > 0 && (m[1] == "clean" || m[1] == "copy") {
				continue // as fresh, and as incremental
			}
			out = append(out, checkoutKind{m[0], m[1], shallow})
		}
	}
	return out
}

func (k checkoutKind) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s depth %d", k.mode, k.method, k.shallow))
}

// kept is the directory that a kind of checkout keeps its repository in.
func (k checkoutKind) kept() string {
	if k.method == "copy" {
		return "source"
	}
	return "build"
}

// TestGitHistories goes through each history with each kind of checkout. Method
// clobber makes a new one for each build, the others keep theirs: what comes out
// is the same.
func TestGitHistories(t *testing.T) {
	t.Parallel()
	for _, h := range slices.Concat(refHistories(), brokenHistories(), submoduleHistories()) {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			live(t, h)
		})
	}
}

// live has all kinds of checkout follow one server.
func live(t *testing.T, h history) {
	s := newServer(t)
	farms := map[checkoutKind]*farm{}
	for _, kind := range checkoutKinds() {
		if !h.kept || kind.method != "clobber" && (kind.shallow == 0 || kind.mode != "full") {
			farms[kind] = newFarm(t)
		}
	}
	for i, b := range h.builds {
		if b.change != nil {
			b.change(s)
			s.publish()
		}
		theirs := (&repo{t: t, dir: s.bare}).refs()
		theirs["HEAD"] = s.git("-C", s.bare, "symbolic-ref", "HEAD")
		if b.want != "" {
			theirs["want"] = s.git("rev-parse", b.want+"^{commit}")
		}
		if what, ok := strings.CutPrefix(b.revision, "="); ok {
			b.revision = s.git(append([]string{"rev-parse"}, strings.Fields(what)...)...)
		}
		for kind, f := range farms {
			if at := filepath.Join(f.dir, "x", kind.kept()); b.smash != nil {
				b.smash(t, at, filepath.Join(at, ".git"))
			}
			v := visit{theirs: theirs, farm: f, kind: kind, built: b, git: dormouse.Git{
				RepoURL: s.url, Mode: kind.mode, Method: kind.method, Shallow: kind.shallow,
				Submodules: h.submodules || kind.method == "clean", Config: allowFiles,
			}}
			if !v.build(t, fmt.Sprintf("%v, build %d", kind, i)) {
				delete(farms, kind)
			}
		}
	}
}

// visit is one build.
type visit struct {
	theirs map[string]string // the server's refs, its HEAD, and the commit to be built as "want"
	farm   *farm
	kind   checkoutKind
	built  built
	git    dormouse.Git
}

func (v visit) build(t *testing.T, name string) bool {
	b := v.built
	stamp := dormouse.SourceStamp{Branch: b.branch, Revision: b.revision}
	m := &memory{}
	job := v.farm.job(gitStep(v.git))
	job.Request.Sources = []dormouse.SourceStamp{stamp}
	out := v.farm.run(t, m, job, nil)
	says, fails := b.says, b.want == ""
	if v.kind.shallow > 0 && b.shallowSays != "" {
		says, fails = b.shallowSays, true
	}
	if want := map[bool]dormouse.Result{false: dormouse.Success, true: dormouse.Failure}[fails]; out.Result != want || !strings.Contains(m.text(0), says) {
		t.Errorf("%s: %+v, want %v and %q\n%s", name, out, want, says, m.text(0))
		return false
	}
	if fails {
		return true
	}
	if want := v.theirs["want"]; m.props["got_revision"].Value != want {
		t.Errorf("%s: built %v, want %s\n%s", name, m.props["got_revision"].Value, want, m.text(0))
		return false
	}
	if b.check != nil {
		b.check(t, func(file string) string { return v.farm.file(t, file) })
	}
	v.checkRefs(t, name)
	if t.Failed() {
		t.Log(m.text(0))
	}
	return !t.Failed()
}

// refs are a repository's refs, and what each is at.
func (r *repo) refs() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(r.git("for-each-ref", "--format=%(refname) %(objectname) %(symref)")) {
		name, at, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, symbolic, ok := strings.Cut(at, " "); ok {
			at = symbolic
		}
		out[name] = at
	}
	return out
}

// below are the refs below a prefix, without it.
func below(refs map[string]string, prefix string) map[string]string {
	out := map[string]string{}
	for name, at := range refs {
		if name, ok := strings.CutPrefix(name, prefix); ok {
			out[name] = at
		}
	}
	return out
}

// checkRefs checks that the checkout has the server's refs and no other.
func (v visit) checkRefs(t *testing.T, name string) {
	t.Helper()
	here := &repo{t: t, dir: filepath.Join(v.farm.dir, "x", "build")}
	if status := here.git("status", "--porcelain", "--untracked-files=no"); status != "" {
		t.Errorf("%s: the tree is changed: %s", name, status)
	}
	head := strings.TrimSpace(v.farm.file(t, ".git/HEAD"))
	branch, onBranch := strings.CutPrefix(head, "ref: refs/heads/")
	if branch != v.built.on && (onBranch || v.built.on != "") {
		t.Errorf("%s: HEAD is %s, want %q", name, head, v.built.on)
	}
	ours := here.refs()
	for local := range below(ours, "refs/heads/") {
		if local != v.built.on {
			t.Errorf("%s: local branch %s, want %q", name, local, v.built.on)
		}
	}
	branches, tags := below(ours, "refs/remotes/origin/"), below(ours, "refs/tags/")
	byDefault := branches["HEAD"]
	delete(branches, "HEAD")
	theirs := below(v.theirs, "refs/heads/")
	if v.kind.shallow == 0 {
		if diff := cmp.Diff(theirs, branches); diff != "" {
			t.Errorf("%s: branches (-server +here):\n%s", name, diff)
		}
		if diff := cmp.Diff(below(v.theirs, "refs/tags/"), tags); diff != "" {
			t.Errorf("%s: tags (-server +here):\n%s", name, diff)
		}
		if want := strings.Replace(v.theirs["HEAD"], "heads", "remotes/origin", 1); byDefault != want {
			t.Errorf("%s: the default branch is %s, want %s", name, byDefault, want)
		}
		return
	}
	if n := here.git("rev-list", "--count", "HEAD"); n != "1" {
		t.Errorf("%s: a history of %s commits", name, n)
	}
	for branch, at := range branches {
		if theirs[branch] != at {
			t.Errorf("%s: branch %s is %s, at the server %q", name, branch, at, theirs[branch])
		}
	}
	for tag := range tags {
		if tag != strings.TrimPrefix(v.built.branch, "refs/tags/") && tag != v.built.revision {
			t.Errorf("%s: tag %s", name, tag)
		}
	}
}

// refHistories are of branches, tags and commits.
func refHistories() []history {
	return []history{
		{name: "a branch and a tag of one name", builds: []built{
			{branch: "main", want: "refs/heads/main", on: "main"},
			{change: func(s *server) {
				s.git("tag", "v1", s.first)
				s.on("v1", "of the branch")
				s.git("checkout", "-q", "main", "--")
			}, branch: "v1", want: "refs/heads/v1", on: "v1"},
			{branch: "refs/tags/v1", want: "refs/tags/v1"},
			{branch: "refs/heads/v1", want: "refs/heads/v1", on: "v1"},
			{revision: "v1", want: "refs/heads/v1"},
			{branch: "v1", revision: "=refs/heads/v1", want: "refs/heads/v1", on: "v1"},
			{change: func(s *server) { s.git("branch", "-D", "v1") }, branch: "v1", want: "refs/tags/v1"},
		}},
		{name: "a tag", builds: []built{
			{change: func(s *server) { s.git("tag", "-a", "-m", "x", "r/1", s.first) }, branch: "r/1", want: "refs/tags/r/1"},
			{change: func(s *server) { s.git("tag", "-f", "-a", "-m", "y", "r/1", s.second) }, branch: "r/1", want: "refs/tags/r/1"},
			{revision: "r/1", want: "refs/tags/r/1"},
			{change: func(s *server) { s.git("tag", "20240101", s.first) }, revision: "20240101", want: "20240101"},
			{change: func(s *server) { s.git("tag", "-d", "r/1") }, branch: "r/1", says: "branch r/1 is not in"},
			{change: func(s *server) { s.git("tag", "r", s.first) }, branch: "r", want: "refs/tags/r"},
			{change: func(s *server) { // on no branch
				s.git("checkout", "-q", "--detach")
				s.commit("gone")
				s.git("tag", "gone")
				s.git("checkout", "-q", "main", "--")
			}, branch: "gone", want: "refs/tags/gone"},
		}},
		{name: "a branch below another's name", builds: []built{
			{change: func(s *server) { s.on("a", "a") }, branch: "a", want: "a", on: "a"},
			{change: func(s *server) {
				s.git("checkout", "-q", "main", "--")
				s.git("branch", "-D", "a")
				s.on("a/b", "a/b")
			}, branch: "a/b", want: "a/b", on: "a/b"},
			{change: func(s *server) {
				s.git("checkout", "-q", "main", "--")
				s.git("branch", "-D", "a/b")
				s.on("a", "a again")
			}, branch: "a", want: "a", on: "a"},
		}},
		{name: "branches go on", builds: []built{
			{branch: "main", want: "main", on: "main"},
			{change: func(s *server) { s.on("main", "three"); s.on("pr", "pr") }, branch: "pr", want: "pr", on: "pr"},
			{branch: "main", revision: "=main~1", want: "main~1", on: "main"}, // it is there already
			{change: func(s *server) { s.git("checkout", "-q", "main"); s.git("commit", "-q", "--amend", "-m", "forced") }, branch: "main", want: "main", on: "main"},
			{change: func(s *server) { s.git("branch", "-D", "pr") }, branch: "pr", says: "branch pr is not in"},
		}},
		{name: "another default branch", builds: []built{
			{want: "main", on: "main"},
			{change: func(s *server) {
				s.on("dev", "dev")
				s.publish()
				s.git("-C", s.bare, "symbolic-ref", "HEAD", "refs/heads/dev")
			}, want: "dev", on: "dev"},
			{change: func(s *server) { s.on("dev", "dev 2") }, branch: "HEAD", want: "dev", on: "dev"},
			{change: func(s *server) { s.git("branch", "-D", "main") }, branch: "dev", want: "dev", on: "dev"},
			{revision: "HEAD", want: "dev", on: "dev"},
		}},
		{name: "a revision whose branch is gone", builds: []built{
			{branch: "main", want: "main", on: "main"},
			{change: func(s *server) {
				s.on("topic", "merged")
				s.git("tag", "-f", "keep/merged")
				s.git("checkout", "-q", "main")
				s.git("merge", "-q", "topic")
				s.on("main", "after")
				s.git("branch", "-D", "topic")
				s.git("update-ref", "refs/keep/merged", "keep/merged")
				s.git("tag", "-d", "keep/merged")
			}, branch: "topic", revision: "=refs/keep/merged", want: "refs/keep/merged", on: "topic"},
			{change: func(s *server) {
				s.on("closed", "closed")
				s.publish()
				s.git("checkout", "-q", "main")
				s.git("update-ref", "refs/keep/closed", "closed")
				s.git("branch", "-D", "closed")
			}, branch: "closed", revision: "=refs/keep/closed", want: "refs/keep/closed", on: "closed"},
			{revision: strings.Repeat("12", 20), branch: "main", says: "revision " + strings.Repeat("12", 20) + " is not in"},
		}},
		{name: "a revision in short", builds: []built{
			{branch: "main", revision: "=--short=9 main", want: "main", on: "main"}, // the tip is there, also of a shallow checkout
			{branch: "main", revision: "=--short=9 main~1", want: "main~1", on: "main", shallowSays: "a shallow checkout needs all of revision"},
		}},
		{name: "a pull request", builds: []built{
			{change: func(s *server) {
				s.on("x", "asked for")
				s.git("checkout", "-q", "main")
				s.git("update-ref", "refs/pull/7/head", "x")
				s.git("branch", "-D", "x")
			}, branch: "refs/pull/7/head", want: "refs/pull/7/head"},
			{branch: "pull/7/head", want: "refs/pull/7/head"},
			{branch: "refs/pull/7/head", revision: "=refs/pull/7/head", want: "refs/pull/7/head"},
			{branch: "refs/pull/8/head", says: "refs/pull/8/head is not in"},
			{branch: "pull/8/head", says: "branch pull/8/head is not in"},
		}},
	}
}

// brokenHistories are of checkouts that were left by a git that was killed.
func brokenHistories() []history {
	touch := func(t testing.TB, files ...string) {
		t.Helper()
		for _, file := range files {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	build := func(change func(s *server), smash func(t testing.TB, dir, git string)) built {
		return built{change: change, smash: smash, branch: "main", want: "main", on: "main"}
	}
	goOn := func(s *server) { s.on("main", "three") }
	smashed := func(name string, smash func(t testing.TB, dir, git string)) history {
		return history{name: name, kept: true, builds: []built{build(nil, nil), build(goOn, smash), build(nil, nil)}}
	}
	return []history{
		smashed("locks", func(t testing.TB, _, git string) {
			for _, name := range []string{
				"index", "HEAD", "shallow", "packed-refs", "config", "refs/heads/main", "refs/remotes/origin/main",
				"refs/remotes/origin/HEAD", "FETCH_HEAD", "objects/info/commit-graph", "logs/HEAD",
			} {
				touch(t, filepath.Join(git, name+".lock"))
			}
		}),
		smashed("a rebase", func(t testing.TB, dir, git string) {
			here := &repo{t: t, dir: dir}
			here.git("checkout", "-q", "-B", "other", "HEAD")
			here.commit("other")
			touch(t, filepath.Join(git, "rebase-apply/next"), filepath.Join(git, "rebase-merge/head-name"), filepath.Join(git, "BISECT_LOG"))
			if err := os.WriteFile(filepath.Join(git, "MERGE_HEAD"), []byte(here.git("rev-parse", "HEAD")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				for _, name := range []string{"rebase-apply", "rebase-merge", "BISECT_LOG", "MERGE_HEAD"} {
					if _, err := os.Stat(filepath.Join(git, name)); err == nil {
						t.Errorf("%s is left", name)
					}
				}
			})
		}),
		smashed("a merge with conflicts", func(t testing.TB, dir, _ string) {
			here := &repo{t: t, dir: dir}
			here.git("checkout", "-q", "-B", "other", "HEAD")
			here.commit("other")
			here.git("checkout", "-q", "-B", "third", "HEAD~1")
			here.commit("third")
			here.git("-c", "alias.try=!git merge -q other || :", "try")
		}),
		smashed("an empty object", func(t testing.TB, dir, git string) {
			here := &repo{t: t, dir: dir}
			head := here.git("rev-parse", "HEAD")
			packs, _ := filepath.Glob(filepath.Join(git, "objects/pack/*"))
			for _, p := range packs {
				if err := os.Remove(p); err != nil {
					t.Fatal(err)
				}
			}
			object := filepath.Join(git, "objects", head[:2], head[2:])
			_ = os.Remove(object)
			touch(t, object)
		}),
		smashed("an empty ref", func(t testing.TB, _, git string) { touch(t, filepath.Join(git, "refs/remotes/origin/main")) }),
		smashed("an empty HEAD", func(t testing.TB, _, git string) { touch(t, filepath.Join(git, "HEAD")) }),
		smashed("an empty index", func(t testing.TB, _, git string) { touch(t, filepath.Join(git, "index")) }),
		smashed("an empty configuration", func(t testing.TB, _, git string) { touch(t, filepath.Join(git, "config")) }),
		smashed("half a clone", func(t testing.TB, dir, git string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			here := &repo{t: t, dir: dir}
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			here.git("init", "-q")
			touch(t, filepath.Join(git, "objects/pack/tmp_pack_x"), filepath.Join(git, "config.lock"))
		}),
		smashed("the beginning of a clone", func(t testing.TB, dir, git string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			touch(t, filepath.Join(git, "config"))
		}),
		{name: "products in the way", kept: true, builds: []built{
			build(func(s *server) { s.writeFile(".gitignore", "*.o\n"); s.writeFile("d/in", "x"); s.on("main", "ignore") }, nil),
			build(func(s *server) { s.git("rm", "-q", "-r", "d"); s.writeFile("d", "a file"); s.on("main", "swap") },
				func(t testing.TB, dir, _ string) { touch(t, filepath.Join(dir, "d/x.o"), filepath.Join(dir, "d/y")) }),
			build(func(s *server) { s.git("rm", "-q", "d"); s.writeFile("d/in", "x"); s.on("main", "back") }, nil),
		}},
	}
}

// submoduleHistories are of submodules, and of theirs.
func submoduleHistories() []history {
	has := func(file, text string) func(testing.TB, func(string) string) {
		return func(t testing.TB, f func(string) string) {
			t.Helper()
			if got := f(file); got != text {
				t.Errorf("%s is %q, want %q", file, got, text)
			}
		}
	}
	build := func(change func(s *server), check func(testing.TB, func(string) string)) built {
		return built{change: change, branch: "main", want: "main", on: "main", check: check}
	}
	add := func(s *server, lib *server, args ...string) {
		s.t.Helper()
		s.git(slices.Concat([]string{"-c", "protocol.file.allow=always", "submodule", "add", "-q"}, args, []string{"--", lib.url, "lib"})...)
		s.on("main", "with lib")
	}
	bump := func(s *server, lib *server, what string) {
		s.t.Helper()
		s.git("-C", "lib", "fetch", "-q", lib.bare, lib.git("rev-parse", what))
		s.git("-C", "lib", "checkout", "-q", "FETCH_HEAD")
		s.git("add", "lib")
		s.on("main", "bump")
	}
	return []history{
		{name: "a submodule goes on", submodules: true, builds: []built{
			build(func(s *server) { s.lib = newServer(s.t); add(s, s.lib) }, has("lib/file", "two")),
			build(func(s *server) { s.lib.on("main", "three"); s.lib.publish(); bump(s, s.lib, "main") }, has("lib/file", "three")),
			build(func(s *server) { // by its name alone
				s.lib.on("closed", "closed")
				s.lib.publish()
				bump(s, s.lib, "closed")
				s.lib.git("checkout", "-q", "main")
				s.lib.git("branch", "-D", "closed")
				s.lib.publish()
			}, has("lib/file", "closed")),
			{smash: func(t testing.TB, _, git string) {
				for _, name := range []string{"index.lock", "HEAD.lock", "config.lock", "refs/heads/main.lock", "shallow.lock"} {
					if err := os.WriteFile(filepath.Join(git, "modules/lib", name), nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.MkdirAll(filepath.Join(git, "modules/lib/rebase-apply"), 0o755); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if _, err := os.Stat(filepath.Join(git, "modules/lib/rebase-apply")); err == nil {
						t.Error("rebase-apply is left in the submodule")
					}
				})
			}, change: func(s *server) { bump(s, s.lib, "main") }, branch: "main", want: "main", on: "main", check: has("lib/file", "three")},
			build(func(s *server) { // it moves
				s.lib = newServer(s.t)
				s.lib.on("main", "elsewhere")
				s.lib.publish()
				s.git("config", "-f", ".gitmodules", "submodule.lib.url", s.lib.url)
				s.git("add", ".gitmodules")
				bump(s, s.lib, "main")
			}, has("lib/file", "elsewhere")),
			{smash: func(t testing.TB, _, git string) { // half a clone of it
				for _, name := range []string{"HEAD", "packed-refs", "refs", "index"} {
					_ = os.RemoveAll(filepath.Join(git, "modules/lib", name))
				}
			}, branch: "main", want: "main", on: "main", check: has("lib/file", "elsewhere")},
			build(func(s *server) { // it becomes a directory
				s.git("rm", "-q", "-f", "lib")
				s.writeFile("lib/file", "a file")
				s.on("main", "no lib")
			}, has("lib/file", "a file")),
			build(func(s *server) { // and a submodule again
				s.git("rm", "-q", "-r", "lib")
				s.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", "--force", "--name", "other", "--", s.lib.url, "lib")
				s.on("main", "lib")
			}, has("lib/file", "elsewhere")),
		}},
		{name: "a submodule's submodule moves", submodules: true, builds: []built{
			build(func(s *server) {
				s.lib = newServer(s.t)
				s.lib.lib = newServer(s.t)
				add(s.lib, s.lib.lib)
				s.lib.publish()
				add(s, s.lib)
			}, has("lib/lib/file", "two")),
			build(func(s *server) {
				old := s.lib.lib
				s.lib.lib = newServer(s.t)
				s.lib.lib.on("main", "elsewhere")
				s.lib.lib.publish()
				s.lib.git("config", "-f", ".gitmodules", "submodule.lib.url", s.lib.lib.url)
				s.lib.git("add", ".gitmodules")
				bump(s.lib, s.lib.lib, "main")
				s.lib.publish()
				bump(s, s.lib, "main")
				if err := os.RemoveAll(old.bare); err != nil {
					s.t.Fatal(err)
				}
			}, has("lib/lib/file", "elsewhere")),
		}},
		{name: "a shallow submodule", submodules: true, builds: []built{
			build(func(s *server) {
				s.lib = newServer(s.t)
				add(s, s.lib)
				s.git("config", "-f", ".gitmodules", "submodule.lib.shallow", "true")
				s.git("add", ".gitmodules")
				s.on("main", "shallow")
				s.lib.on("main", "three")
				s.lib.publish()
			}, has("lib/file", "two")),
			build(func(s *server) { bump(s, s.lib, "main"); s.lib.on("main", "four"); s.lib.publish() }, has("lib/file", "three")),
		}},
	}
}
