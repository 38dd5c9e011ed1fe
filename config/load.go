package config

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/dormouse-ci/dormouse"
)

// maxSource is far above any configuration written by a person or a
// generator: a thousand workers are about 300 kB.
const maxSource = 4 << 20

// Options say what a configuration may see of its surroundings.
type Options struct {
	// Env looks up environment variables for os.environ and secrets;
	// os.LookupEnv when nil.
	Env func(string) (string, bool)
	// BaseDir is what relative paths are relative to; the directory of the
	// configuration file when empty.
	BaseDir string
	// SecretsDir holds one file for each secret; the directory "secrets" in
	// BaseDir when empty.
	SecretsDir string
	// Context ends the reading; nil does not.
	Context context.Context
	// Print gets what the configuration prints; nil discards it.
	Print func(string)
}

// Load reads the configuration file at path. The error is [Errors] when the
// configuration is wrong, and a [dormouse.Error] when the file cannot be read.
func Load(path string, opts Options) (*Master, error) {
	src, err := readFile(path)
	if err != nil {
		code := dormouse.Unavailable
		if errors.Is(err, os.ErrNotExist) {
			code = dormouse.NotFound
		}
		return nil, dormouse.Errorf(code, "cannot read the configuration: %w", err)
	}
	return Parse(path, src, opts)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSource+1))
}

func (o Options) withDefaults(filename string) Options {
	if o.Context == nil {
		o.Context = context.Background()
	}
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.BaseDir == "" {
		o.BaseDir = filepath.Dir(filename)
		if abs, err := filepath.Abs(o.BaseDir); err == nil {
			o.BaseDir = abs
		}
	}
	if o.SecretsDir == "" {
		o.SecretsDir = filepath.Join(o.BaseDir, "secrets")
	}
	return o
}
