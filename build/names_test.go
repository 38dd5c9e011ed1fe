package build_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dormouse-ci/dormouse/internal/procs"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

// What was uploaded has the name that masterdest gives it for the steps that
// follow, on the master and from it.
func TestUploadsHaveNames(t *testing.T) {
	f, d := newFarm(t), newDisk(t)
	base := d.BaseDir()
	if err := procs.WriteProgram(filepath.Join(base, "publish.sh"), []byte("cat pub/$1\n")); err != nil {
		t.Fatal(err)
	}
	upload := func(dest string) dormouse.Upload { return dormouse.Upload{Sources: []any{"out/a"}, Dest: dest} }
	several := func(dest string, glob bool, sources ...any) dormouse.Upload {
		return dormouse.Upload{Kind: dormouse.UploadFiles, Sources: sources, Dest: dest, Glob: glob}
	}
	job := f.job(
		sh("make", "mkdir -p out/sub && echo new > out/a && echo b > out/sub/b && echo bad > out/publish.sh"),
		step("relative", upload("pub/1.0/a")),
		step("again", upload("pub/1.0/a")),
		step("absolute", upload(filepath.Join(base, "pub/absolute"))),
		step("top", upload("top")),
		step("directory", dormouse.Upload{Kind: dormouse.UploadDirectory, Sources: []any{"out"}, Dest: "pub/dir"}),
		step("spread", dormouse.Upload{Kind: dormouse.UploadDirectory, Sources: []any{"out"}, Dest: "."}),
		step("spread by pattern", several(".", true, "out/*")),
		step("several", several("pub/many", false, "out/a", "out/sub")),
		step("publish", dormouse.MasterShellCommand{Command: "./publish.sh 1.0/a; cat pub/absolute top pub/dir/sub/b pub/many/a pub/many/sub/b; chmod 600 pub/1.0/a; mv top moved"}),
		step("back", dormouse.Download{Source: "pub/1.0/a", Dest: "back"}),
		sh("look", "cat back"),
		step("a secret's place", upload("secrets/key")),
		step("artifacts' place", upload("artifacts/x")),
		step("home", upload("~/x")),
		step("elsewhere", upload("/srv/x")),
	)
	for i := range job.Builder.Steps {
		job.Builder.Steps[i].AlwaysRun, job.Builder.Steps[i].HaltOnFailure = true, false
	}
	m := &memory{}
	f.files(t, m, d, job, nil)
	if diff := cmp.Diff([]string{
		"make success", "relative success", "again success", "absolute success", "top success", "directory success", "spread success",
		"spread by pattern success", "several success", "publish success", "back success", "look success",
		"a secret's place failure", "artifacts' place failure", "home failure", "elsewhere failure",
	}, m.results()); diff != "" {
		for i, s := range m.steps {
			t.Logf("%s: %s\n%s", s.Name, s.StateString, m.text(i))
		}
		t.Fatalf("steps (-want +got):\n%s", diff)
	}
	if got := m.stdout(9); got != "new\nnew\nnew\nb\nnew\nb\n" {
		t.Errorf("published %q", got)
	}
	if got := m.stdout(11); got != "new\n" {
		t.Errorf("the worker got %q", got)
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{"artifacts", "moved", "pub", "publish.sh"}, names); diff != "" {
		t.Errorf("in the base directory (-want +got):\n%s", diff)
	}
	if script, _ := os.ReadFile(filepath.Join(base, "publish.sh")); string(script) != "cat pub/$1\n" {
		t.Errorf("the master's script is %q", script)
	}
}
