package wire

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// A worker replaces ${NAME} in the values of a command's env by its own
// variables: Buildbot's workers know no way to write a ${ that stays. Between
// our master and our agent "$\x00{" is one, since no variable can hold a NUL
// byte.
const literalBrace = "$\x00{"

// variable matches what a worker replaces, and what it must leave.
var variable = regexp.MustCompile(`\$\x00\{|\$\{([0-9A-Za-z_]*)\}`)

// Literal returns a text for a value of env in which no ${NAME} is replaced:
// one that the configuration did not write.
func Literal(text string) string { return strings.ReplaceAll(text, "${", literalBrace) }

// ExpandVariables puts the variables of own in for each ${NAME} of a value of
// env, and nothing for those that own lacks; what [Literal] has marked stays.
func ExpandVariables(value string, own map[string]string) string {
	return variable.ReplaceAllStringFunc(value, func(ref string) string {
		if ref == literalBrace {
			return "${"
		}
		return own[ref[len("${"):len(ref)-len("}")]]
	})
}

// EscapedLiteral is how a text that [Literal] has marked travels to a worker
// that does not know the mark. A secret has to be hidden in this form, too: such
// a worker writes the values of env to the log.
func EscapedLiteral(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), literalBrace, `\044{`)
}

// withoutMarks returns a command's arguments for a worker that does not know
// the mark of [Literal]: the values come escaped, and a shell on the worker
// decodes them before it runs the command.
func withoutMarks(args map[string]any, system string) (map[string]any, error) {
	env, _ := args["env"].(map[string]any)
	var marked []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if hasMark(env[name]) {
			marked = append(marked, name)
		}
	}
	if len(marked) == 0 {
		return args, nil
	}
	if system != "" && system != "posix" {
		return nil, dormouse.Errorf(dormouse.Invalid,
			"env: the value of %s holds \"${\", which a buildbot-worker would replace: write it to a file, or use the Dormouse agent", marked[0])
	}
	env = maps.Clone(env)
	var script strings.Builder
	for _, name := range marked {
		if !isShellName(name) {
			return nil, dormouse.Errorf(dormouse.Invalid,
				"env: the value of %q holds \"${\", which a buildbot-worker would replace, and no shell can set a variable of that name: use the Dormouse agent", name)
		}
		env[name] = escapeValue(env[name])
		// The "." keeps the newlines at a value's end, which $() drops.
		script.WriteString(name + `=$(printf '%b.' "$` + name + `"); ` + name + `=${` + name + `%.}; `)
	}
	script.WriteString(`exec "$@"`)
	argv := []any{"/bin/sh", "-c", script.String(), "sh"}
	switch command := args["command"].(type) {
	case string:
		argv = append(argv, "/bin/sh", "-c", command)
	case []any:
		argv = append(argv, command...)
	}
	args = maps.Clone(args)
	args["env"], args["command"] = env, argv
	return args, nil
}

func hasMark(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, literalBrace)
	case []any:
		return slices.ContainsFunc(v, hasMark)
	}
	return false
}

func escapeValue(v any) any {
	switch v := v.(type) {
	case string:
		return EscapedLiteral(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = escapeValue(v[i])
		}
		return out
	}
	return v
}

func isShellName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
