package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

// TestInitBuilds: what "dormouse init --endpoint-url" writes builds on the local
// endpoint as it stands, but for the ports, which may be in use here, and the
// repository, which is out in the world.
func TestInitBuilds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	endpoint := startProcess(t, filepath.Join(dir, "ec2.log"), "ec2", "--json", "--boot-delay", "0s", "--dir", filepath.Join(dir, "instances"))
	ci := filepath.Join(dir, "ci")
	if out, err := exec.Command(buildDormouse(t), "init", ci, "--endpoint-url", endpoint.said["endpoint"].(string)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	file := filepath.Join(ci, "master.star")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	free := strings.NewReplacer("9989", "0", "8010", "0", "https://github.com/octocat/Hello-World.git", commitRepository(t, dir)).Replace(string(text))
	if !strings.Contains(free, "repourl=\""+dir) || !strings.Contains(free, "'port': 0}") {
		t.Errorf("ports and repository are others than this test thinks:\n%s", text)
	}
	if err := os.WriteFile(file, []byte(free), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "master.log")
	m := startProcess(t, log, "master", ci, "--json")
	token, err := os.ReadFile(filepath.Join(ci, "token"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(m.said["url"].(string), strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	made, err := c.Force(ctx, web.ForceRequest{Builder: "example"})
	if err != nil {
		t.Fatal(err)
	}
	for message, err := range c.Events(ctx, client.EventQuery{Kinds: []string{"request"}}) {
		if err != nil {
			said, _ := os.ReadFile(log)
			story, _ := c.Story(t.Context(), made[0].ID)
			t.Fatalf("%v: %+v\n%s", err, story, said)
		}
		if r := message.Event.Request; message.Reset || r != nil && r.Result != nil {
			r, err := c.Request(ctx, made[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			if r.Result == nil {
				continue
			}
			if *r.Result != dormouse.Success {
				t.Errorf("it ended in %s", r.Result)
			}
			return
		}
	}
}
