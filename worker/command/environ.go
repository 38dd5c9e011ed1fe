package command

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// stepEnviron makes a command's environment: the agent's own, changed by the
// command's env argument as in Buildbot. A list is joined with the path
// separator, None removes the variable, ${NAME} is the agent's own variable
// (or nothing) except where [wire.Literal] says that it stays, and the agent's PYTHONPATH follows the command's. PWD is dir.
func stepEnviron(base []string, env map[string]any, dir string) ([]string, error) {
	own := make(map[string]string, len(base))
	for _, e := range base {
		if name, value, ok := strings.Cut(e, "="); ok {
			own[name] = value
		}
	}
	out := maps.Clone(own)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, dormouse.Errorf(dormouse.Invalid, "env: %q cannot be the name of a variable", name)
		}
		if env[name] == nil {
			delete(out, name)
			continue
		}
		value, err := environValue(env[name])
		if err != nil {
			return nil, dormouse.Errorf(dormouse.Invalid, "env: the value of %s %w", name, err)
		}
		if name == "PYTHONPATH" && own[name] != "" {
			value += string(os.PathListSeparator) + "${PYTHONPATH}"
		}
		out[name] = wire.ExpandVariables(value, own)
		if strings.ContainsRune(out[name], 0) {
			return nil, dormouse.Errorf(dormouse.Invalid, "env: the value of %s holds a NUL byte", name)
		}
	}
	// The shell trusts PWD to name the directory it starts in.
	out["PWD"] = dir
	list := make([]string, 0, len(out))
	for _, name := range slices.Sorted(maps.Keys(out)) {
		list = append(list, name+"="+out[name])
	}
	return list, nil
}

func environValue(v any) (string, error) {
	parts, ok := v.([]any)
	if !ok {
		parts = []any{v}
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		s, ok := text(part)
		if !ok {
			return "", fmt.Errorf("is neither a string nor a list of strings")
		}
		texts[i] = s
	}
	return strings.Join(texts, string(os.PathListSeparator)), nil
}
