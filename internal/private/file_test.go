package private

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for mode, wanted := range map[os.FileMode]string{
		0o600: "", 0o400: "", 0o700: "",
		0o640: "chmod 600", 0o604: "chmod 600", 0o644: "its mode is 0644", 0o620: "chmod 600", 0o601: "chmod 600",
	} {
		path := filepath.Join(t.TempDir(), "it's a secret")
		if err := os.WriteFile(path, []byte("value"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		link := path + "-link" // whose own mode tells nothing
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{path, link} {
			data, err := Read(name)
			switch {
			case wanted == "" && (err != nil || string(data) != "value"):
				t.Errorf("mode %o: %q, %v", mode, data, err)
			case wanted != "" && (err == nil || len(data) > 0 || !strings.Contains(err.Error(), wanted) || strings.Contains(err.Error(), "value")):
				t.Errorf("mode %o: %q, %v; want an error with %q", mode, data, err, wanted)
			}
		}
	}
}

func TestReadTooLarge(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, bytes.Repeat([]byte("s"), maxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("%v", err)
	}
}

// A secret may come by a pipe, as a shell's <(…) has it.
func TestReadPipe(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("value"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	path := "/proc/self/fd/" + strconv.Itoa(int(r.Fd()))
	if _, err := os.Stat(path); err != nil {
		t.Skip("this system has no /proc")
	}
	if data, err := Read(path); err != nil || string(data) != "value" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	const root, us = 0, 1000
	for _, tc := range []struct {
		mode        os.FileMode
		owner, user int
		want        bool
	}{
		{0o600, us, us, true},
		{0o400, us, us, true},
		{0o640, us, us, false},
		{0o604, us, us, false},
		{0o640, root, us, true},
		{0o440, root, us, true},
		{0o660, root, us, false},
		{0o644, root, us, false},
		{0o640, root, root, false},
		{0o600, root, root, true},
		{0o640, -1, us, false},
	} {
		if got := allowed(tc.mode, tc.owner, tc.user); got != tc.want {
			t.Errorf("mode %04o of user %d, read by %d: allowed %v, want %v", tc.mode, tc.owner, tc.user, got, tc.want)
		}
	}
}
