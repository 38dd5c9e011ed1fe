package bootstrap_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/bootstrap"
	"github.com/dormouse-ci/dormouse/internal/testca"
)

const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func good() bootstrap.Options {
	return bootstrap.Options{
		Master: "ws://ci.example.com:9989/", FetchURL: "http://ci.example.com:9989/worker/", Secret: "hunter2",
		Checksums: map[string]string{"linux-amd64": sum, "linux-arm64": sum},
	}
}

func TestUserData(t *testing.T) {
	script, err := bootstrap.UserData(good())
	if err != nil {
		t.Fatal(err)
	}
	// cloud-init knows a script by its first two bytes.
	if !bytes.HasPrefix(script, []byte("#!/bin/sh\n")) || bytes.Contains(script, []byte("WORKER_NAME")) {
		t.Errorf("the script is\n%s", script)
	}
	// EC2 takes 16 KiB; the rest is for long names.
	if len(script) > 10<<10 {
		t.Errorf("the script has %d bytes", len(script))
	}
	again, err := bootstrap.UserData(good())
	if err != nil || !bytes.Equal(script, again) {
		t.Errorf("rendered twice it differs (%v): launches of it cannot be one call", err)
	}
}

func TestUserDataRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*bootstrap.Options)
		want   string
	}{
		{"master", func(o *bootstrap.Options) { o.Master = "http://ci:9989/" }, `"http://ci:9989/" is not ws:// or wss://`},
		{"no host", func(o *bootstrap.Options) { o.Master = "ws://:9989/" }, "is not ws://"},
		{"password in the address", func(o *bootstrap.Options) { o.FetchURL = "http://a:b@ci/worker/" }, "is not http:// or https://"},
		{"query", func(o *bootstrap.Options) { o.FetchURL = "http://ci/worker/?x=/" }, "is not http:// or https://"},
		{"no slash", func(o *bootstrap.Options) { o.FetchURL = "http://ci/worker" }, "does not end with a slash"},
		{"name", func(o *bootstrap.Options) { o.Name = "a:b" }, `"a:b" has a colon`},
		{"name of two lines", func(o *bootstrap.Options) { o.Name = "a\nDORMOUSE_MASTER=b" }, "the worker's name"},
		{"no secret", func(o *bootstrap.Options) { o.Secret = "" }, "secret is empty"},
		{"secret of two lines", func(o *bootstrap.Options) { o.Secret = "hunter2\nEND_OF_SETTINGS\nreboot" }, "not printed"},
		{"secret of no text", func(o *bootstrap.Options) { o.Secret = "hunter2\xff" }, "not printed"},
		{"no program", func(o *bootstrap.Options) { o.Checksums = nil }, "no program"},
		{"platform", func(o *bootstrap.Options) { o.Checksums = map[string]string{"linux-amd64) reboot;;": sum} }, "is not GOOS-GOARCH"},
		{"checksum", func(o *bootstrap.Options) { o.Checksums = map[string]string{"linux-amd64": sum + "; reboot"} }, "not a SHA-256"},
		{"CA", func(o *bootstrap.Options) { o.CA = []byte("no certificate") }, "the CA is no certificate"},
		{"lease", func(o *bootstrap.Options) { o.Lease = time.Second }, "a lease of 1s"},
		{"too long", func(o *bootstrap.Options) { o.Secret = "hunter2" + strings.Repeat("x", 16<<10) }, "EC2 takes at most 16384"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := good()
			tt.change(&o)
			_, err := bootstrap.UserData(o)
			if dormouse.CodeOf(err) != dormouse.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestShellcheck(t *testing.T) {
	shellcheck, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not installed")
	}
	o := good()
	if o.CA, err = os.ReadFile(testca.New(t).File); err != nil {
		t.Fatal(err)
	}
	script, err := bootstrap.UserData(o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "user-data")
	if err := os.WriteFile(path, script, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(shellcheck, "--shell=sh", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// FuzzQuoting has any text go through both shells' readers: nothing in it runs,
// and it comes out as it went in.
func FuzzQuoting(f *testing.F) {
	for _, s := range []string{"plain", `a'b"c\d$e` + "`f`", "$(reboot)", "  blanks ", "#;&|<>*?~!", "äöü 日本", `\`, `'`, `"`, `%n`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		o := good()
		o.Secret = secret
		script, err := bootstrap.UserData(o)
		if err != nil {
			return // TestUserDataRefused
		}
		_, rest, _ := bytes.Cut(script, []byte("<<'END_OF_SETTINGS'\n"))
		settings, _, found := bytes.Cut(rest, []byte("\nEND_OF_SETTINGS\n"))
		if !found {
			t.Fatalf("no settings in\n%s", script)
		}
		cmd := exec.Command("/bin/sh", "-c", string(settings)+"\nprintf %s \"$DORMOUSE_WORKER_PASSWORD\"")
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != secret {
			t.Errorf("%q comes out as %q (%v)", secret, out, err)
		}
	})
}
