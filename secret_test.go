package dormouse

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecretParts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		secret       string
		parts, short []string
	}{
		{secret: ""},
		{secret: "hunter2", parts: []string{"hunter2"}},
		{secret: "abcd", parts: []string{"abcd"}},
		{secret: "abc", short: []string{"abc"}},
		{secret: "äöü", short: []string{"äöü"}},
		{secret: "äöüß", parts: []string{"äöüß"}},
		{secret: "{\n  \"key\": \"value\",\n  \"n\": [\n  1\n  ]\n}\r\n", parts: []string{`"key": "value",`, `"n": [`}, short: []string{"1"}},
		{secret: "====\n--\n", parts: []string{"===="}},
	} {
		parts, short := SecretParts(tc.secret)
		if diff := cmp.Diff(tc.parts, parts); diff != "" {
			t.Errorf("%q: hidden: %s", tc.secret, diff)
		}
		if diff := cmp.Diff(tc.short, short); diff != "" {
			t.Errorf("%q: too short: %s", tc.secret, diff)
		}
	}
}
