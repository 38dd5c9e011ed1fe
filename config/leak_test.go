package config

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Git keeps no modes: in a fresh clone others may read what stands for secrets.
	files, err := filepath.Glob("testdata/secrets/*")
	for _, f := range files {
		if err == nil {
			err = os.Chmod(f, 0o600)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
