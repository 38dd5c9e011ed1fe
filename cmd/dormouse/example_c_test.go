package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/internal/procs"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
)

// cProject has two places that a compiler warns of.
var cProject = map[string]string{
	"configure": `#!/bin/sh
# Finds a compiler, and notes what it found.
set -e
prefix=/usr/local
for argument; do
	case $argument in
	--prefix=*) prefix=${argument#--prefix=} ;;
	*) echo "configure: I do not know $argument" >&2; exit 1 ;;
	esac
done
{
	for cc in cc gcc clang; do
		if command -v "$cc"; then break; fi
	done
	printf 'CC = %s\nprefix = %s\n' "$cc" "$prefix" >config.mk
	echo "the compiler is $cc, the prefix $prefix"
} >config.log
echo configured
`,
	"Makefile": `include config.mk

tally: tally.c
	$(CC) $(CFLAGS) -o $@ tally.c

check: tally
	test "$$(printf 'a\nb\n' | ./tally)" = 2

install: tally
	mkdir -p $(DESTDIR)$(prefix)/bin $(DESTDIR)$(prefix)/share/tally
	cp tally $(DESTDIR)$(prefix)/bin/
	cp config.log $(DESTDIR)$(prefix)/share/tally/how-it-was-built
`,
	"tally.c": `#include <stdio.h>

int main(int argc, char **argv)
{
	unsigned n = 0;
	int c, never = 0;

	(void)argv;
	while ((c = getchar()) != EOF)
		n += c == '\n';
	if (n < never)
		return 1;
	printf("%u\n", n);
	return 0;
}
`,
}

// TestExampleCDistributions builds a C project on its four images, and a branch
// with more warnings than most of them allow.
func TestExampleCDistributions(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip(err)
	}
	distributions := []string{"debian-12", "ubuntu-2404", "fedora-42", "alpine-322"}
	var images []ec2sim.Image
	newest := map[string]string{} // of each distribution, its image
	for i, d := range distributions {
		newest[d] = fmt.Sprintf("ami-%017x", 0xd1570000+i)
		name := "ci-" + d + "-"
		images = append(images,
			ec2sim.Image{ID: newest[d], Name: name + "20261101", OwnerID: exampleOwner, Public: true},
			ec2sim.Image{ID: fmt.Sprintf("ami-%017x", 0x01d0000+i), Name: name + "20260901", OwnerID: exampleOwner, Public: true},
			// A stranger's, of a later date.
			ec2sim.Image{ID: fmt.Sprintf("ami-%017x", 0xbad0000+i), Name: name + "20261231", OwnerID: "999999999999", Public: true},
		)
	}
	s := newExampleSite(t, images...)
	revision := s.commit("main", cProject)
	s.commit("worse", map[string]string{"tally.c": strings.Replace(cProject["tally.c"], "unsigned n", "int unused;\n\tunsigned n", 1)})
	s.start("c-distributions")

	requests, on := map[string]int64{}, map[string]string{} // of each distribution, its instance
	for _, d := range distributions {
		requests[d] = s.force(web.ForceRequest{Builder: "tally-" + d})
	}
	for _, d := range distributions {
		b := s.ended(requests[d], dormouse.Warnings)
		on[d] = b.InstanceID
		b.has(map[string]any{"distribution": d, "got_revision": revision})
		for step, want := range map[string]dormouse.Result{"configure": dormouse.Success, "compile": dormouse.Warnings, "test": dormouse.Success} {
			if got := b.result(step); got != want {
				t.Errorf("%s: step %s ended with %v", d, step, got)
			}
		}
		if got := b.log("compile", "stdio"); strings.Count(got, ": warning: ") < 2 {
			t.Errorf("%s: the compiler says:\n%s", d, got)
		}
		note := "the prefix /usr\n"
		if got := b.log("configure", "config.log"); !strings.HasSuffix(got, note) {
			t.Errorf("%s: config.log is %q", d, got)
		}
		files := b.artifacts()
		if got, want := artifactNames(files), d+"/usr/bin/tally "+d+"/usr/share/tally/how-it-was-built"; got != want {
			t.Fatalf("%s: artifacts %s, not %s", d, got, want)
		}
		if got := string(files[d+"/usr/share/tally/how-it-was-built"]); !strings.HasSuffix(got, note) {
			t.Errorf("%s: the installed file is %q", d, got)
		}
		path := filepath.Join(t.TempDir(), "tally")
		if err := procs.WriteProgram(path, files[d+"/usr/bin/tally"]); err != nil {
			t.Fatal(err)
		}
		program := exec.Command(path)
		program.Stdin = strings.NewReader("1\n2\n3\n")
		if out, err := program.Output(); err != nil || string(out) != "3\n" {
			t.Errorf("%s: the program says %q, %v", d, out, err)
		}
	}

	// Three warnings are too many for all but the newest compiler.
	debian := s.force(web.ForceRequest{Builder: "tally-debian-12", Branch: "worse"})
	fedora := s.force(web.ForceRequest{Builder: "tally-fedora-42", Branch: "worse"})
	b := s.ended(debian, dormouse.Failure)
	if got := b.result("compile"); got != dormouse.Failure {
		t.Errorf("with three warnings, the step ended with %v", got)
	}
	if got := artifactNames(b.artifacts()); got != "" {
		t.Errorf("it kept %s", got)
	}
	s.ended(fedora, dormouse.Warnings)

	ledger := s.end()
	if len(ledger.Instances) != len(distributions) {
		t.Errorf("%d instances were started", len(ledger.Instances))
	}
	for _, i := range ledger.Instances {
		d := i.Tags["Distribution"]
		if i.ImageID != newest[d] || on[d] != i.ID || i.Market != dormouse.OnDemand {
			t.Errorf("for %s there was the instance %+v, and not one of the image %s", d, i, newest[d])
		}
	}
}
