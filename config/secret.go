package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/private"
)

// secretName is what may name a secret: it becomes a file's name, so it has no
// slash and does not begin with a dot.
var secretName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// Secrets finds secrets by name: in the directory, then in the environment.
type Secrets struct {
	Dir string
	Env func(string) (string, bool)
}

// Lookup returns the secret called name, without the line end that an editor
// leaves at the end of a file. The error names the secret and both places, and
// never holds a value.
func (s Secrets) Lookup(name string) (string, error) {
	if !secretName.MatchString(name) {
		return "", dormouse.Errorf(dormouse.Invalid, "%q cannot name a secret: letters, digits and _ . - may", name)
	}
	variable := "DORMOUSE_SECRET_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
	if s.Dir != "" {
		value, err := readSecret(filepath.Join(s.Dir, name))
		if err == nil {
			return value, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", dormouse.Errorf(dormouse.Unavailable, "secret %q: %w", name, err)
		}
	}
	if s.Env != nil {
		if value, ok := s.Env(variable); ok {
			return value, nil
		}
	}
	return "", dormouse.Errorf(dormouse.NotFound, "secret %q is neither the file %s nor in the environment as %s",
		name, filepath.Join(s.Dir, name), variable)
}

func readSecret(path string) (string, error) {
	data, err := private.Read(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), nil
}
