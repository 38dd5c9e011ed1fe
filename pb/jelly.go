package pb

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse/pb/banana"
)

// maxDepth bounds nesting, in both directions: of the lists of a message, and of
// the values that we send. The deepest honest message, a failure's, nests nine.
const maxDepth = 32

// jelly appends values to a message.
type jelly struct {
	*banana.Encoder
	sent []*Local // the objects of ours that it mentions, as often as it does
}

// value appends one value: see the package comment for its forms.
func (j *jelly) value(v any, depth int) {
	if depth > maxDepth {
		j.Fail(fmt.Errorf("a value nests more than %d deep", maxDepth))
		return
	}
	switch v := v.(type) {
	case nil:
		j.List(1)
		j.String("None")
	case bool:
		j.List(2)
		j.String("boolean")
		j.String(map[bool]string{true: "true", false: "false"}[v])
	case int:
		j.Int(int64(v))
	case int64:
		j.Int(v)
	case *big.Int:
		j.Big(v)
	case float64:
		j.Float(v)
	case []byte:
		j.ByteString(v)
	case string:
		j.List(2)
		j.String("unicode")
		j.String(validText(v))
	case *Local:
		j.List(2)
		j.String("remote")
		j.Int(v.id)
		j.sent = append(j.sent, v)
	case *Remote:
		j.List(2)
		j.String("local")
		j.Int(v.id)
	case *Failure:
		v.encode(j.Encoder)
	default:
		j.container(v, depth+1)
	}
}

// container appends a value that has others in it.
func (j *jelly) container(v any, depth int) {
	switch v := v.(type) {
	case []any:
		jellyAll(j, "list", v, depth)
	case []string:
		jellyAll(j, "list", v, depth)
	case Tuple:
		jellyAll(j, "tuple", v, depth)
	case Dict:
		j.List(1 + len(v))
		j.String("dictionary")
		for _, e := range v {
			j.List(2)
			j.value(e.Key, depth)
			j.value(e.Value, depth)
		}
	case map[string]any:
		jellyMap(j, v, depth)
	case map[string]string:
		jellyMap(j, v, depth)
	default:
		j.Fail(fmt.Errorf("a %T cannot be sent", v))
	}
}

func jellyAll[T any](j *jelly, word string, items []T, depth int) {
	j.List(1 + len(items))
	j.String(word)
	for _, v := range items {
		j.value(v, depth)
	}
}

// jellyMap appends the entries sorted by key, so that equal maps are equal bytes.
func jellyMap[T any](j *jelly, m map[string]T, depth int) {
	j.List(1 + len(m))
	j.String("dictionary")
	for _, key := range slices.Sorted(maps.Keys(m)) {
		j.List(2)
		j.value(key, depth)
		j.value(m[key], depth)
	}
}

// validText is text with what is not UTF-8 as U+FFFD: a peer fails on it.
func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
