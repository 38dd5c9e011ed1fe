package command

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
)

func TestArguments(t *testing.T) {
	a := arguments{command: "c", args: map[string]any{
		"zero": int64(0), "float": 1.5, "huge": 1e300, "big": uint64(1) << 63, "none": nil, "bytes": []byte("b"),
	}}
	if d, set := a.seconds("float"); d != 1500*time.Millisecond || !set {
		t.Error(d, set)
	}
	if d, set := a.seconds("zero"); d != 0 || !set {
		t.Error(d, set)
	}
	if d, set := a.seconds("none"); d != 0 || set {
		t.Error(d, set)
	}
	for _, name := range []string{"huge", "big"} {
		if d, _ := a.seconds(name); d != maxSeconds*time.Second {
			t.Errorf("%s: %v", name, d)
		}
	}
	if a.bool("zero", true) || !a.bool("none", true) || !a.bool("float", false) {
		t.Error("truth values")
	}
	if a.text("bytes") != "b" || a.text("absent") != "" {
		t.Error("texts")
	}
	if err := a.err(); err != nil {
		t.Error(err)
	}
	a.count("huge")
	a.path("zero")
	want := `command "c": argument huge is not a count; argument zero is not a path`
	if err := a.err(); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// FuzzParseCommand holds that whatever a master sends is understood or refused.
func FuzzParseCommand(f *testing.F) {
	f.Add("shell", []byte(`{"command": ["a", ["obfuscated", "b", "c"]], "workdir": "/w", "timeout": 3, "env": {"A": ["b"], "C": null}}`))
	f.Add("shell", []byte(`{"command": "a", "workdir": "/w", "usePTY": 1, "sigtermTime": -0.5, "interruptSignal": "SIGTERM"}`))
	f.Add("mkdir", []byte(`{"paths": ["/a"]}`))
	f.Add("stat", []byte(`{"path": 1}`))
	f.Add("shell", []byte(`{"command": "a", "workdir": "/w", "logfiles": {"a": "b", "c": {"filename": "/d", "follow": 1}, "e": {}}}`))
	f.Add("upload_directory", []byte(`{"path": "/x", "maxsize": 5, "blocksize": 1e9, "compress": "gz"}`))
	f.Add("download_file", []byte(`{"path": "/x", "maxsize": null, "blocksize": 1e300, "mode": 420}`))
	f.Add("cpdir", []byte(`{"from_path": "/x", "to_path": "/y", "timeout": null, "maxTime": 1}`))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		var args map[string]any
		if json.Unmarshal(text, &args) != nil {
			return
		}
		for _, name := range append(slices.Sorted(maps.Keys(commands)), name) {
			c, err := parseCommand(name, args)
			if err == nil && c == nil {
				t.Fatalf("%s is neither understood nor refused", name)
			}
			if code := dormouse.CodeOf(err); err != nil && code != dormouse.Invalid && code != dormouse.NotFound {
				t.Errorf("%s: %v is %q", name, err, code)
			}
			if move, ok := c.(*transfer); ok && err == nil && (move.path == "" || move.block < 1 || move.block > maxBlock || move.maxSize < -1) {
				t.Errorf("%+v", move)
			}
			if sh, ok := c.(*shellCommand); ok && err == nil {
				sh.header(nil)
				if _, err := stepEnviron(nil, sh.env, "/"); err != nil && dormouse.CodeOf(err) != dormouse.Invalid {
					t.Error(err)
				}
			}
		}
	})
}
