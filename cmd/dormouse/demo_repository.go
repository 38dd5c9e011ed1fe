package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// sampleCommit is one commit of the sample repository: files by name.
type sampleCommit struct {
	message string
	files   map[string]string
}

// The sample is a tiny project with a history: what it takes to see a checkout,
// a compile step and a test step go by.
var sampleHistory = []sampleCommit{
	{"Count the words of a text", map[string]string{
		"README": "count.sh counts the words of a text.\n",
		"count.sh": `#!/bin/sh
# Prints how many words standard input has.
tr -s ' \t' '\n\n' | grep -c .
`,
	}},
	{"Build it", map[string]string{
		"build.sh": `#!/bin/sh
set -e
echo "checking the syntax of count.sh"
sh -n count.sh
mkdir -p out
cp count.sh out/count
chmod +x out/count
echo "built out/count"
`,
	}},
	{"Test it", map[string]string{
		"test.sh": `#!/bin/sh
set -e
check() {
	got=$(printf '%s' "$1" | ./out/count || true)
	if [ "$got" = "$2" ]; then
		echo "ok    '$1' has $2 words"
	else
		echo "FAIL  '$1' has $2 words, not $got"
		exit 1
	fi
}
check 'a dormouse sleeps' 3
sleep 0.3
check '  until there is   work  ' 4
sleep 0.3
check '' 0
echo "3 tests passed on $(uname -s), $(uname -m)"
`,
	}},
}

// repository returns the path of the repository to build.
func (d *demo) repository(ctx context.Context) (string, error) {
	if d.repo == "" {
		return d.sampleRepository(ctx)
	}
	d.printf("%s building %s at %s\n", d.at(), d.repo, plain(d.head))
	if changed, err := git(ctx, d.repo, "status", "--porcelain", "--untracked-files=no"); err == nil && changed != "" {
		d.notef("Note: what is not committed in %s is not built.\n", d.repo)
	}
	return d.repo, nil
}

// checkRepository makes --repo the top of a repository with a commit to build,
// or says why it is none.
func (d *demo) checkRepository(ctx context.Context) error {
	top, err := git(ctx, d.repo, "rev-parse", "--show-toplevel")
	if err != nil {
		return dormouse.Errorf(dormouse.Invalid, "--repo %s is not the work tree of a git repository: %w", d.repo, err)
	}
	if d.head, err = git(ctx, top, "log", "-n", "1", "--format=%h %s"); err != nil {
		return dormouse.Errorf(dormouse.Invalid, "the repository %s has no commit to build: %w", top, err)
	}
	d.repo = top
	return nil
}

func (d *demo) sampleRepository(ctx context.Context) (string, error) {
	dir := filepath.Join(d.dir, "sample")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if _, err := git(ctx, dir, "init", "--quiet", "--initial-branch=main"); err != nil {
		return "", err
	}
	for _, commit := range sampleHistory {
		for name, text := range commit.files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return "", err
			}
		}
		if _, err := git(ctx, dir, "add", "--all"); err != nil {
			return "", err
		}
		if _, err := git(ctx, dir, "commit", "--quiet", "--message", commit.message); err != nil {
			return "", err
		}
	}
	d.printf("%s sample repository with %d commits at %s\n", d.at(), len(sampleHistory), dir)
	return dir, nil
}

// git runs git without the user's settings, which could make it sign or ask.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=sample", "GIT_AUTHOR_EMAIL=sample@localhost",
		"GIT_COMMITTER_NAME=sample", "GIT_COMMITTER_EMAIL=sample@localhost")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		if text != "" {
			err = errors.New(text) // git says it better than its exit code
		}
		return "", dormouse.Errorf(dormouse.Internal, "git %s: %w", args[0], err)
	}
	return text, nil
}
