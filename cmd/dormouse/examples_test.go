package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/web"
)

// examplePatience bounds how long a test waits for what must come. It only says
// how soon a broken test ends.
const examplePatience = 5 * time.Minute

// What the examples name when nothing else is set.
const (
	exampleImage = "ami-0123456789abcdef0"
	exampleOwner = "123456789012"
)

// exampleSubnets are those that the examples name.
var exampleSubnets = []ec2sim.Subnet{
	{ID: "subnet-0123456789abcdef0", Zone: "us-east-1a", Block: netip.MustParsePrefix("172.31.200.0/24")},
	{ID: "subnet-0fedcba9876543210", Zone: "us-east-1b", Block: netip.MustParsePrefix("172.31.201.0/24")},
}

func examplePath(name string) string {
	return filepath.Join("..", "..", "examples", name, "master.star")
}

// exampleSecret is the value that a test gives a secret, by its variable.
func exampleSecret(variable string) string { return "value-of-" + variable }

// TestExamplesAreValid loads every example as it stands, with nothing set but
// its secrets. Its README names whatever it reads from the environment.
func TestExamplesAreValid(t *testing.T) {
	files, err := filepath.Glob(examplePath("*"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			readme, err := os.ReadFile(filepath.Join(filepath.Dir(file), "README.md"))
			if err != nil {
				t.Fatal(err)
			}
			asked := map[string]bool{}
			c, err := config.Load(file, config.Options{Env: func(name string) (string, bool) {
				asked[name] = true
				return exampleSecret(name), strings.HasPrefix(name, "DORMOUSE_SECRET_")
			}})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range c.Warnings {
				if !strings.Contains(w.Message, "has no TLS") { // a certificate is no example's
					t.Errorf("warning: %v", w)
				}
			}
			for name := range asked {
				if !strings.Contains(string(readme), name) {
					t.Errorf("it reads %s, which its README does not name", name)
				}
			}
		})
	}
}

// exampleSite is an endpoint that has what an example names, the repository that
// it builds, and the example's master.
type exampleSite struct {
	*master.Master
	t        *testing.T
	endpoint *ec2sim.Server
	url      string
	base     string // the master's directory
	repo     string // the repository's work tree
}

// newExampleSite serves an endpoint, and points everything at it that an example
// takes from its environment.
func newExampleSite(t *testing.T, more ...ec2sim.Image) *exampleSite {
	// What other tests have left running is not ours.
	ignored := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, ignored)
		}
	})
	noAWS(t)
	s := &exampleSite{t: t, base: t.TempDir(), repo: t.TempDir()}
	boot := []string{buildDormouse(t), "worker", "--from-user-data"}
	images := append([]ec2sim.Image{{ID: exampleImage}}, more...)
	for i := range images {
		images[i].BootCommand = boot
	}
	var err error
	s.endpoint, err = ec2sim.New(ec2sim.Options{
		Dir: t.TempDir(), BootDelay: -1, RateScale: -1, Images: images, Subnets: exampleSubnets,
		PassEnv: toolchainVariables, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.endpoint)
	s.url = server.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), examplePatience)
		defer cancel()
		if err := s.endpoint.Close(ctx); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	group, err := s.client().CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{
		GroupName: aws.String("ci"), Description: aws.String("of the example"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": s.url, "AWS_REGION": "us-east-1",
		"AWS_ACCESS_KEY_ID": ec2sim.DefaultAccessKeyID, "AWS_SECRET_ACCESS_KEY": ec2sim.DefaultSecretAccessKey,
		"CI_SECURITY_GROUP": *group.GroupId, "PROJECT_REPO": "file://" + s.repo,
	} {
		t.Setenv(name, value)
	}
	return s
}

func (s *exampleSite) client() *awsec2.Client {
	return awsec2.New(awsec2.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.url), HTTPClient: &http.Client{Transport: s.endpoint},
		Credentials: credentials.NewStaticCredentialsProvider(ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, ""),
	})
}

// start starts a master with an example, on ports that are free.
func (s *exampleSite) start(name string) {
	s.t.Helper()
	c, err := config.Load(examplePath(name), config.Options{
		BaseDir: s.base, SecretsDir: s.t.TempDir(),
		Env: func(name string) (string, bool) {
			if strings.HasPrefix(name, "DORMOUSE_SECRET_") {
				return exampleSecret(name), true
			}
			return os.LookupEnv(name)
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	c.Protocols.MsgpackListen, c.WWW.Listen = "127.0.0.1:0", "127.0.0.1:0"
	var log lockedBuffer
	s.Master, err = master.Start(s.t.Context(), master.Options{Config: c, Token: "token", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		s.stop()
		if s.t.Failed() {
			s.t.Logf("the master logged:\n%s", log.String())
		}
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (s *exampleSite) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), examplePatience)
	defer cancel()
	s.Stop(ctx)
}

// end stops the master, after which no instance is left, and returns what the
// endpoint remembers.
func (s *exampleSite) end() ec2sim.Ledger {
	s.t.Helper()
	s.stop()
	ledger := s.endpoint.Ledger()
	if n := ledger.Alive(); n > 0 {
		s.t.Errorf("%d instances are alive: %+v", n, ledger.Instances)
	}
	return ledger
}

// commit commits files to the repository, and returns the revision. What begins
// with #! may be executed.
func (s *exampleSite) commit(branch string, files map[string]string) string {
	s.t.Helper()
	for name, text := range files {
		path, mode := filepath.Join(s.repo, name), os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			s.t.Fatal(err)
		}
	}
	calls := [][]string{{"add", "--all"}, {"commit", "--quiet", "--message", "a change"}}
	if _, err := os.Stat(filepath.Join(s.repo, ".git")); err != nil {
		calls = slices.Insert(calls, 0, []string{"init", "--quiet", "--initial-branch=main"})
	}
	if branch != "main" {
		calls = slices.Insert(calls, 0, []string{"checkout", "--quiet", "-b", branch})
		calls = append(calls, []string{"checkout", "--quiet", "main"})
	}
	for _, args := range calls {
		if _, err := git(s.t.Context(), s.repo, args...); err != nil {
			s.t.Fatal(err)
		}
	}
	revision, err := git(s.t.Context(), s.repo, "rev-parse", branch)
	if err != nil {
		s.t.Fatal(err)
	}
	return revision
}

func (s *exampleSite) force(r web.ForceRequest) int64 {
	s.t.Helper()
	made, err := s.Force(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return made[0].ID
}

// until waits for a condition that events bring about.
func (s *exampleSite) until(what string, done func() bool) {
	s.t.Helper()
	events, cancel := s.Subscribe()
	defer func() { cancel() }()
	limit := time.After(examplePatience)
	for !done() {
		select {
		case _, ok := <-events:
			if !ok {
				events, cancel = s.Subscribe()
			}
		case <-limit:
			workers, _ := s.Workers(s.t.Context())
			requests, _ := s.Requests(s.t.Context(), web.RequestQuery{Limit: 10})
			s.t.Fatalf("%s has not come about; workers %+v; requests %+v", what, workers, requests)
		}
	}
}

// exampleBuild is a build that has ended.
type exampleBuild struct {
	dormouse.Build
	site  *exampleSite
	steps map[string]dormouse.Step
}

// ended waits for the end of a request, and returns its build, which must have
// a result.
func (s *exampleSite) ended(request int64, want dormouse.Result) exampleBuild {
	s.t.Helper()
	var r dormouse.BuildRequest
	s.until(fmt.Sprintf("the end of request %d", request), func() bool {
		var err error
		if r, err = s.Request(s.t.Context(), request); err != nil {
			s.t.Fatal(err)
		}
		return r.Result != nil
	})
	builds, err := s.Builds(s.t.Context(), web.BuildQuery{Limit: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	at := slices.IndexFunc(builds, func(b dormouse.Build) bool { return b.RequestID == request })
	if at < 0 {
		s.t.Fatalf("request %d of %s ended with %v and no build", request, r.Builder, *r.Result)
	}
	b := exampleBuild{site: s, steps: map[string]dormouse.Step{}}
	if b.Build, err = s.Build(s.t.Context(), builds[at].ID); err != nil { // with its properties
		s.t.Fatal(err)
	}
	steps, err := s.Steps(s.t.Context(), b.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, step := range steps {
		b.steps[step.Name] = step
	}
	if *r.Result != want {
		for _, step := range steps {
			s.t.Logf("step %s: %s\n%s", step.Name, step.StateString, b.log(step.Name, "stdio"))
		}
		s.t.Fatalf("build %s/%d ended with %v (%s), not %v", b.Builder, b.Number, *r.Result, b.StateString, want)
	}
	return b
}

// log is the text of a step's log; empty if the step has none of the name.
func (b exampleBuild) log(step, name string) string {
	b.site.t.Helper()
	var out strings.Builder
	for _, l := range b.steps[step].Logs {
		for n := int64(0); l.Name == name && n < l.Lines; {
			lines, err := b.site.LogLines(b.site.t.Context(), l.ID, n, l.Lines)
			if err != nil || len(lines) == 0 {
				b.site.t.Fatalf("line %d of %d: %v", n, l.Lines, err)
			}
			for _, line := range lines {
				out.WriteString(line.Text + "\n")
			}
			n += int64(len(lines))
		}
	}
	return out.String()
}

// result is a step's.
func (b exampleBuild) result(step string) dormouse.Result {
	b.site.t.Helper()
	s, ok := b.steps[step]
	if !ok || s.Result == nil {
		b.site.t.Fatalf("build %s/%d has no result of a step %q: %+v", b.Builder, b.Number, step, b.steps)
	}
	return *s.Result
}

// has checks properties.
func (b exampleBuild) has(want map[string]any) {
	b.site.t.Helper()
	for name, value := range want {
		if got := b.Properties[name].Value; fmt.Sprint(got) != fmt.Sprint(value) {
			b.site.t.Errorf("build %s/%d has the property %s=%v, not %v", b.Builder, b.Number, name, got, value)
		}
	}
}

// artifacts returns the content of each artifact by its path, having checked
// what the master says of them.
func (b exampleBuild) artifacts() map[string][]byte {
	b.site.t.Helper()
	list, err := b.site.Artifacts(b.site.t.Context(), b.ID, "", 100)
	if err != nil {
		b.site.t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, a := range list {
		_, f, err := b.site.OpenArtifact(b.site.t.Context(), b.ID, a.Path)
		if err != nil {
			b.site.t.Fatal(err)
		}
		content, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			b.site.t.Fatal(err)
		}
		if sum := sha256.Sum256(content); a.SHA256 != hex.EncodeToString(sum[:]) || a.Bytes != int64(len(content)) {
			b.site.t.Errorf("%s of %d bytes is listed as %+v", a.Path, len(content), a)
		}
		out[a.Path] = content
	}
	return out
}

// names are the sorted paths of artifacts.
func artifactNames(artifacts map[string][]byte) string {
	var out []string
	for name := range artifacts {
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
