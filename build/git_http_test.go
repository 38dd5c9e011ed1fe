package build_test

import (
	"encoding/base64"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// hosting serves repositories over HTTP, as hosting sites do.
type hosting struct {
	url  string
	root string

	mu       sync.Mutex
	failures int      // how many requests are yet to fail
	shown    []string // the Authorization that came
	seen     []string // secrets that were in a process's arguments
}

const (
	hostingUser = "x-access-token"
	// What a worker, a shell, printf, a URL and git's protocol would each change.
	hostingToken = `ghp_${HOME}%s \0101'"@:/ä&`
)

// newHosting serves what is put into its root. Where token is not "", it wants
// to know it.
func newHosting(t testing.TB, token string) *hosting {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	h := &hosting{root: t.TempDir()}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + h.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		fail := h.failures > 0
		if fail {
			h.failures--
		}
		if a := r.Header.Get("Authorization"); a != "" {
			h.shown = append(h.shown, a)
			h.seen = append(h.seen, argumentsWith(hostingToken)...)
		}
		h.mu.Unlock()
		user, password, _ := r.BasicAuth()
		switch {
		case fail:
			http.Error(w, "come back later", http.StatusServiceUnavailable)
		case token != "" && (user != hostingUser || password != token):
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
		default:
			backend.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

// add has a repository served under a name.
func (h *hosting) add(r *repo, name string) string {
	r.t.Helper()
	r.git("clone", "-q", "--bare", r.dir, filepath.Join(h.root, name))
	for _, allow := range []string{"uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"} {
		r.git("-C", filepath.Join(h.root, name), "config", allow, "true")
	}
	return h.url + "/" + name
}

func (h *hosting) authorizations() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shown
}

// argumentsWith are the command lines of all processes that have a text in them.
func argumentsWith(text string) []string {
	var out []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if line, err := os.ReadFile(f); err == nil && strings.Contains(string(line), text) {
			out = append(out, string(line))
		}
	}
	return out
}

// holding are the files below a directory with one of some texts in them.
func holding(t testing.TB, dir string, texts ...string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, text := range texts {
			if strings.Contains(string(data), text) {
				out = append(out, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// writing is a user's configuration whose helper writes passwords down, and
// where.
func writing(t testing.TB) (env map[string]any, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "credentials")
	global := filepath.Join(dir, "gitconfig")
	if err := os.WriteFile(global, []byte("[credential]\n\thelper = store --file "+file+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"GIT_CONFIG_GLOBAL": global}, file
}

// secretToken is what a job has under the name "token".
func secretToken(name string) (string, error) {
	if name != "token" {
		return "", dormouse.Errorf(dormouse.NotFound, "no secret %s", name)
	}
	return hostingToken, nil
}

func tokenCredentials() *dormouse.GitCredentials {
	return &dormouse.GitCredentials{User: hostingUser, Password: expr.SecretRef{Name: "token"}}
}

func TestGitWithAToken(t *testing.T) {
	h := newHosting(t, hostingToken)
	r, lib := newRepository(t), newRepository(t)
	h.add(lib, "lib.git")
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", lib.dir, "lib")
	r.git("config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
	r.git("add", ".gitmodules")
	r.git("commit", "-q", "-m", "submodule")
	url := h.add(r, "r.git")

	for name, farm := range map[string]func(*testing.T) *farm{
		"our agent":    func(t *testing.T) *farm { return newFarm(t) },
		"stock worker": newStockFarm,
	} {
		t.Run(name, func(t *testing.T) {
			f := farm(t)
			env, written := writing(t)
			for _, mode := range [][2]string{{"full", "clobber"}, {"full", "fresh"}, {"incremental", ""}, {"full", "copy"}} {
				if name == "stock worker" && mode[1] != "clobber" {
					continue // it is the same with both workers
				}
				m := &memory{}
				job := f.job(
					gitStep(dormouse.Git{
						RepoURL: url, Mode: mode[0], Method: mode[1], Submodules: true, Env: env, LogEnviron: true, Progress: true,
						Credentials: tokenCredentials(), Timeout: time.Minute,
					}),
					sh("env", "env; cat .git/config; git config --list"),
				)
				job.Secret = secretToken
				out := f.run(t, m, job, nil)
				if out.Result != dormouse.Success || f.file(t, "lib/file") != "two" {
					t.Fatalf("%v: %+v\n%s", mode, out, m.text(0))
				}
				for _, secret := range []string{hostingToken, "ghp_", "DORMOUSE_GIT_PASSWORD=", base64.StdEncoding.EncodeToString([]byte(hostingUser + ":" + hostingToken))} {
					if strings.Contains(m.text(0)+m.text(1), secret) {
						t.Errorf("%v: a log shows %q:\n%s\n%s", mode, secret, m.text(0), m.text(1))
					}
				}
				if n := strings.Count(m.text(0), " environment:"); n != 1 {
					t.Errorf("%v: the environment is shown %d times:\n%s", mode, n, m.text(0))
				}
			}
			dir := f.dir
			if name == "stock worker" {
				dir = filepath.Join(f.dir, "x") // its own log has every message of the master's
			}
			if files := holding(t, dir, "ghp_", base64.StdEncoding.EncodeToString([]byte(hostingUser+":"+hostingToken))); files != nil {
				t.Errorf("the token is in %v", files)
			}
			if _, err := os.Stat(written); !os.IsNotExist(err) {
				t.Errorf("the user's own helper was told: %v", err)
			}
			if h.seen != nil {
				t.Errorf("the token is in arguments: %q", h.seen)
			}
		})
	}
	if len(h.authorizations()) == 0 {
		t.Error("nobody has shown the token")
	}
}

// TestGitShowsATokenToItsServerAlone: another server that asks gets nothing.
func TestGitShowsATokenToItsServerAlone(t *testing.T) {
	h, other := newHosting(t, hostingToken), newHosting(t, "another")
	r, lib, f := newRepository(t), newRepository(t), newFarm(t)
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", lib.dir, "lib")
	r.git("config", "-f", ".gitmodules", "submodule.lib.url", other.add(lib, "lib.git"))
	r.git("add", ".gitmodules")
	r.git("commit", "-q", "-m", "submodule")
	env, _ := writing(t)
	job := f.job(gitStep(dormouse.Git{RepoURL: h.add(r, "r.git"), Submodules: true, Credentials: tokenCredentials(), Env: env}))
	job.Secret = secretToken
	m := &memory{}
	out := f.run(t, m, job, nil)
	if out.Result != dormouse.Failure || !strings.Contains(m.text(0), "the server wants to know who asks") && !strings.Contains(m.text(0), "auth_credentials") {
		t.Errorf("%+v\n%s", out, m.text(0))
	}
	if len(h.authorizations()) == 0 || len(other.authorizations()) > 0 {
		t.Errorf("shown to its server %d times, to another: %q", len(h.authorizations()), other.authorizations())
	}
}

func TestGitRefusesCredentials(t *testing.T) {
	h := newHosting(t, hostingToken)
	r := newRepository(t)
	url := h.add(r, "r.git")
	tests := []struct {
		name   string
		git    dormouse.Git
		result dormouse.Result
		says   string
	}{
		{
			"a wrong token",
			dormouse.Git{RepoURL: url, Credentials: &dormouse.GitCredentials{User: hostingUser, Password: "wrong-token"}},
			dormouse.Failure, "hthe server refuses auth_credentials",
		},
		{"none", dormouse.Git{RepoURL: url}, dormouse.Failure, "give the step auth_credentials"},
		{
			"a file",
			dormouse.Git{RepoURL: r.dir, Credentials: &dormouse.GitCredentials{User: "me", Password: "wrong-token"}},
			dormouse.Exception, "auth_credentials are for repositories at",
		},
		{
			"any host",
			dormouse.Git{RepoURL: "http://*/r.git", Credentials: &dormouse.GitCredentials{User: "me", Password: "wrong-token"}},
			dormouse.Exception, "auth_credentials are for repositories at",
		},
		{
			"a line of git's protocol",
			dormouse.Git{RepoURL: url, Credentials: &dormouse.GitCredentials{User: "me", Password: "wrong-token\nhost=example.org"}},
			dormouse.Exception, "has a line's end in it",
		},
		{
			"an empty token",
			dormouse.Git{RepoURL: url, Credentials: &dormouse.GitCredentials{User: "me", Password: expr.PropertyRef{Name: "none"}}},
			dormouse.Exception, "is empty",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFarm(t)
			m, out := f.checkOut(t, tt.git)
			if out.Result != tt.result || !strings.Contains(m.text(0), tt.says) || strings.Contains(m.text(0), "wrong-token") {
				t.Errorf("%+v, want %v and %q:\n%s", out, tt.result, tt.says, m.text(0))
			}
		})
	}
}

func TestGitRetries(t *testing.T) {
	r := newRepository(t)
	for _, tt := range []struct {
		name     string
		git      dormouse.Git
		before   bool // there is a checkout already
		failures int
		want     dormouse.Result
		says     string
	}{
		{"a clone", dormouse.Git{Retries: 1}, false, 1, dormouse.Success, "trying again in 0s, 1 more times"},
		{"a clone in vain", dormouse.Git{Retries: 2}, false, 3, dormouse.Failure, "trying again in 0s, 1 more times"},
		{"a clone with a pause", dormouse.Git{Retries: 1, RetryDelay: time.Nanosecond}, false, 1, dormouse.Success, "trying again in 1ns"},
		{"a clobber", dormouse.Git{Retries: 1, Mode: "full", Method: "clobber"}, true, 1, dormouse.Success, "trying again"},
		{"a copy", dormouse.Git{Retries: 1, Mode: "full", Method: "copy"}, false, 1, dormouse.Success, "trying again"},
		{"a fetch", dormouse.Git{Retries: 2}, true, 2, dormouse.Success, "trying again"},
		{"a fetch once more", dormouse.Git{RetryFetch: true}, true, 1, dormouse.Success, "fetching once more"},
		{"a fetch once more in vain", dormouse.Git{RetryFetch: true}, true, 2, dormouse.Failure, "fetching once more"},
		{"a fetch, then a clone", dormouse.Git{RetryFetch: true, ClobberOnFailure: true}, true, 2, dormouse.Success, "to clone it anew"},
		{"a clone, then another", dormouse.Git{ClobberOnFailure: true}, false, 1, dormouse.Success, "to clone it anew"},
		{"not at all", dormouse.Git{}, true, 1, dormouse.Failure, "failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newHosting(t, ""), newFarm(t)
			tt.git.RepoURL = h.add(r, "r.git")
			if tt.before {
				if m, out := f.checkOut(t, tt.git); out.Result != dormouse.Success {
					t.Fatalf("%+v\n%s", out, m.text(0))
				}
			}
			h.failures = tt.failures
			m, out := f.checkOut(t, tt.git)
			if out.Result != tt.want || !strings.Contains(m.text(0), tt.says) || h.failures != 0 {
				t.Errorf("%+v, %d failures left:\n%s", out, h.failures, m.text(0))
			}
			if tt.want == dormouse.Success && (m.props["got_revision"].Value != r.second || f.file(t, "file") != "two") {
				t.Errorf("%v, file %q", m.props, f.file(t, "file"))
			}
		})
	}
}
