package build

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A line that is cut wherever mask.cut says shows no part of a secret, and is
// whole but for that.
func TestCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMask()
		secrets := rapid.SliceOfN(rapid.StringMatching(`[ab]{4,9}|é{4}x`), 0, 3).Draw(t, "secrets")
		for _, s := range secrets {
			m.add(s, "<s>")
		}
		line := strings.Join(rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(append([]string{"c"}, secrets...)), rapid.StringMatching(`[abcé]{1,5}`)), 1, 30).Draw(t, "line"), "")
		var pieces []string
		rest, left := "", line
		for left != "" {
			n := min(len(left), rapid.IntRange(20, 30).Draw(t, "read"))
			text := rest + left[:n]
			left = left[n:]
			at := len(text)
			if left != "" {
				at = m.cut(text)
			}
			if at <= 0 || at > len(text) {
				t.Fatalf("%q is cut at %d", text, at)
			}
			pieces, rest = append(pieces, text[:at]), text[at:]
		}
		shown, want := "", m.apply(line)
		for _, p := range pieces {
			if strings.ToValidUTF8(p, "?") != p {
				t.Fatalf("%q is cut in a character: %q", line, pieces)
			}
			shown += m.apply(p)
		}
		if shown != want && !touching(line, secrets) {
			t.Fatalf("%q shows %q, want %q: %q", line, shown, want, pieces)
		}
	})
}

// touching reports whether secrets of a line overlap, so that more than one way
// to hide them is right.
func touching(line string, secrets []string) bool {
	end := 0
	for i := range line {
		for _, s := range secrets {
			if strings.HasPrefix(line[i:], s) {
				if i < end {
					return true
				}
			}
		}
		for _, s := range secrets {
			if strings.HasPrefix(line[i:], s) {
				end = max(end, i+len(s))
			}
		}
	}
	return false
}
