package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// patch changes a package of the program to torture. The Go command compiles the
// changed files in place of the package's own, so that the product itself knows
// nothing of it.
type patch struct {
	of, file string // the package's import path, and one of its files
	old, new string // what stands in that file once, and what takes its place
	source   string // a further file of the package
}

// replace writes the changed files below dir, and returns them by the path that
// each takes the place of.
func (p patch) replace(ctx context.Context, dir string) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", p.of).Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", p.of, err)
	}
	home := strings.TrimSpace(string(out))
	text, err := os.ReadFile(filepath.Join(home, p.file))
	if err != nil {
		return nil, err
	}
	if strings.Count(string(text), p.old) != 1 {
		return nil, fmt.Errorf("%s/%s is not as internal/torture knows it: %q must stand there once", home, p.file, p.old)
	}
	files := map[string]string{}
	for name, text := range map[string]string{p.file: strings.Replace(string(text), p.old, p.new, 1), "torture.go": p.source} {
		changed := filepath.Join(dir, strings.ReplaceAll(p.of, "/", "_")+"_"+name)
		files[filepath.Join(home, name)] = changed
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// buildPatched builds the program with patches. With -trimpath what is compiled
// does not depend on dir, so that Go's cache has it the next time.
func buildPatched(ctx context.Context, dir, program string, patches ...patch) error {
	replace := map[string]string{}
	for _, p := range patches {
		files, err := p.replace(ctx, dir)
		if err != nil {
			return err
		}
		for file, changed := range files {
			replace[file] = changed
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-overlay", path, "-o", program, "./cmd/dormouse")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	return build.Run()
}
