package machine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// ParseUserData reads settings as the agent's user data has them: lines
// KEY=VALUE, where KEY is one of known; blank lines and lines that begin with
// # mean nothing. A value is the rest of its line as it stands, without quotes
// to take off, less the blanks around it. The error is Invalid, names every
// wrong line by its number, and never repeats a value, which may be secret.
func ParseUserData(text string, known []string) (map[string]string, error) {
	values := make(map[string]string)
	var wrong []string
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		switch _, twice := values[key]; {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("line %d is not KEY=VALUE", number))
		case !slices.Contains(known, key):
			wrong = append(wrong, fmt.Sprintf("line %d: unknown key %.64q", number, key))
		case twice:
			wrong = append(wrong, fmt.Sprintf("line %d: %s is set a second time", number, key))
		default:
			values[key] = strings.TrimSpace(value)
		}
	}
	if len(wrong) > 0 {
		return nil, dormouse.Errorf(dormouse.Invalid, "user data: %s (known keys: %s)",
			strings.Join(wrong, "; "), strings.Join(known, ", "))
	}
	return values, nil
}
