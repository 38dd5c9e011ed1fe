package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed image.sh
var imageScript string

// findImage returns the directory of the image that this version of image.sh makes,
// and makes it where it is not there yet.
func findImage(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a place to keep the image in (set HOME or XDG_CACHE_HOME): %w", err)
	}
	sum := sha256.Sum256([]byte(imageScript))
	image := filepath.Join(cache, "dormouse", "boottest", "debian-"+hex.EncodeToString(sum[:4]))
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	if err := os.MkdirAll(filepath.Dir(image), 0o700); err != nil {
		return "", err
	}
	fmt.Printf("making the image %s, which takes some minutes, once\n", image)
	making := image + ".new"
	if err := errors.Join(os.RemoveAll(making), os.MkdirAll(making, 0o755)); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-s", making)
	cmd.Stdin = strings.NewReader(imageScript)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the image: %w\n%s", err, tail(string(out), 20))
	}
	return image, os.Rename(making, image)
}

// tail is the end of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
