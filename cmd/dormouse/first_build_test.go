package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestFirstBuild does what docs/first-build.md tells a newcomer to do, with other
// ports: every command ends well, and the builds print what they should.
func TestFirstBuild(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/first-build.md")
	if err != nil {
		t.Fatal(err)
	}
	dormouse, dir := buildDormouse(t), t.TempDir()
	environ := append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME=", "PATH="+filepath.Dir(dormouse)+":"+os.Getenv("PATH"))
	star := filepath.Join(dir, "ci", "master.star")
	address, printed := "127.0.0.1:4566", ""
	for _, block := range regexp.MustCompile("(?ms)^```(sh|python)\n(.*?)^```\n").FindAllStringSubmatch(string(page), -1) {
		language, text := block[1], strings.ReplaceAll(block[2], "127.0.0.1:4566", address)
		text = strings.ReplaceAll(text, "PWD", dir)
		switch {
		case language == "python":
			changeFactory(t, star, text)
		case strings.HasPrefix(text, "go install"):
		case strings.HasPrefix(text, "dormouse ec2"):
			p := startProcess(t, filepath.Join(dir, "ec2.log"), "ec2", "--json", "--dir", filepath.Join(dir, "instances"))
			address = strings.TrimPrefix(p.said["endpoint"].(string), "http://")
		case strings.HasPrefix(text, "dormouse master"):
			cmd := exec.Command(dormouse, "master", "--json", filepath.Join(dir, "ci"))
			cmd.Env = environ
			p := startCommand(t, filepath.Join(dir, "master.log"), cmd)
			environ = append(environ, "DORMOUSE_URL="+p.said["url"].(string), fmt.Sprintf("MASTER=%d", p.cmd.Process.Pid),
				"DORMOUSE_TOKEN_FILE="+filepath.Join(dir, "ci", "token"))
		default:
			cmd := exec.Command("sh", "-e", "-c", text)
			cmd.Dir, cmd.Env = dir, environ
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s\n%v\n%s", text, err, out)
			}
			printed += string(out)
			if strings.HasPrefix(text, "kill -HUP") {
				awaitText(t, filepath.Join(dir, "master.log"), "the configuration was read again")
			}
		}
	}
	if strings.Count(printed, "\n42\n") != 2 || strings.Count(printed, "\nhello\n") != 1 {
		t.Errorf("expecting 42 from two builds and hello from one:\n%s", printed)
	}
}

// changeFactory puts what the page says into the configuration: a whole factory,
// or a step at the end of the one that is there. Ports are any that are free.
func changeFactory(t *testing.T, star, text string) {
	t.Helper()
	source, err := os.ReadFile(star)
	if err != nil {
		t.Fatal(err)
	}
	factory := regexp.MustCompile(`(?ms)^factory = .*?^\]\)\n`)
	old := factory.FindString(string(source))
	changed := text
	if !strings.HasPrefix(text, "factory") {
		changed = strings.TrimSuffix(old, "])\n") + text + "])\n"
	}
	out := strings.Replace(string(source), old, changed, 1)
	out = strings.Replace(out, "'port': 8010", "'port': 0", 1)
	out = strings.Replace(out, "tcp:9989:", "tcp:0:", 1)
	if err := os.WriteFile(star, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
}

// awaitText waits until a file has a text.
func awaitText(t *testing.T, file, text string) {
	t.Helper()
	limit := time.After(2 * time.Minute)
	for {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), text) {
			return
		}
		select {
		case <-limit:
			t.Fatalf("%q is not there:\n%s", text, content)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
