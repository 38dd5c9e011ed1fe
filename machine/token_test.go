package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got := ReadToken(dir); got != "" {
		t.Errorf("%q where none was kept", got)
	}
	for _, token := range []string{"first", "second"} {
		if err := KeepToken(dir, token); err != nil {
			t.Fatal(err)
		}
		if got := ReadToken(dir); got != token {
			t.Errorf("%q, want %q", got, token)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v: want the token's file alone", entries, err)
	}
	for _, text := range []string{"two words", "\x01", "ünicode", strings.Repeat("x", maxToken+1)} {
		if err := os.WriteFile(filepath.Join(dir, tokenFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ReadToken(dir); got != "" {
			t.Errorf("%q was taken for a token", got)
		}
	}
}
