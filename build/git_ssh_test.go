package build_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/expr"
	"github.com/dormouse-ci/dormouse/internal/procs"
)

// newKey makes what looks like a key, to those who do not look inside.
func newKey() (private, public string) {
	line := func() string { return rand.Text() + rand.Text() + rand.Text()[:18] } // as long as a real one's
	return "-----BEGIN OPENSSH PRIVATE KEY-----\n" + line() + "\n" + line() + "\n-----END OPENSSH PRIVATE KEY-----\n", "ssh-ed25519 " + line()
}

// realKey makes a key that OpenSSH takes.
func realKey(t testing.TB) (private, public string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	var texts [2]string
	for i, name := range []string{file, file + ".pub"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	return texts[0], strings.TrimSpace(texts[1])
}

// pretender is a program called ssh that looks at what it is given, and runs
// git's other end on this machine.
type pretender struct {
	dir string
	env map[string]any
}

// pretend is the program. It expects the files that the pretender has written, and
// leaves its arguments and what it saw.
const pretend = `#!/bin/sh
printf '%s\n' "$@" >>"$PRETEND/args"
echo called >>"$PRETEND/calls"
for a; do
	file=${a#*=\"}
	file=$(printf %s "${file%\"}" | sed 's/%%/%/g')
	case $a in
	IdentityFile=*) key=$file ;;
	UserKnownHostsFile=*) hosts=$file ;;
	esac
done
stat -c '%a' "$key" "${key%/*}" >>"$PRETEND/modes"
cmp "$key" "$PRETEND/key" >&2 || { echo 'git@example.org: Permission denied (publickey).' >&2; exit 255; }
if [ -e "$PRETEND/known_hosts" ]; then
	stat -c '%a' "$hosts" >>"$PRETEND/modes"
	cmp "$hosts" "$PRETEND/known_hosts" >&2 || { echo 'Host key verification failed.' >&2; exit 255; }
fi
if [ -e "$PRETEND/wait" ]; then
	cat "$key" >&2
	echo 'the key is here' >&2
	exec sleep 1000
fi
for command; do :; done
exec sh -c "$command"
`

func newPretender(t testing.TB, key, knownHosts string) *pretender {
	t.Helper()
	p := &pretender{dir: t.TempDir()}
	p.env = map[string]any{
		"PATH": p.dir + ":${PATH}", "PRETEND": p.dir,
		"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
	}
	p.write(t, "ssh", pretend)
	p.write(t, "key", key)
	if knownHosts != "" {
		p.write(t, "known_hosts", knownHosts)
	}
	return p
}

func (p *pretender) write(t testing.TB, name, text string) {
	t.Helper()
	if err := procs.WriteProgram(filepath.Join(p.dir, name), []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func (p *pretender) read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// keys are the directories of keys on the farm's worker.
func (f *farm) keys(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, above := range []string{".", "*", "*/*"} {
		found, err := filepath.Glob(filepath.Join(f.dir, above, ".dormouse-git-*"))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

// secretKey is what a job has under the name "key": a file's last line end is not
// part of a secret.
func secretKey(key string) func(string) (string, error) {
	return func(name string) (string, error) {
		if name != "key" {
			return "", dormouse.Errorf(dormouse.NotFound, "no secret %s", name)
		}
		return strings.TrimSuffix(key, "\n"), nil
	}
}

func farms(t *testing.T, run func(t *testing.T, f *farm)) {
	t.Run("our agent", func(t *testing.T) { run(t, newFarm(t)) })
	t.Run("stock worker", func(t *testing.T) { run(t, newStockFarm(t)) })
}

func TestGitWithAKey(t *testing.T) {
	r, lib := newRepository(t), newRepository(t)
	r.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", lib.dir, "lib")
	r.git("config", "-f", ".gitmodules", "submodule.lib.url", "git@example.org:"+lib.dir)
	r.git("add", ".gitmodules")
	r.git("commit", "-q", "-m", "submodule")
	key, host := newKey()
	farms(t, func(t *testing.T, f *farm) {
		for _, tt := range []struct {
			mode, method, workDir      string
			hostKey, knownHosts, wrote string
		}{
			{"full", "clobber", "", host, "", "* " + host + "\n"},
			{"full", "fresh", "", "", "example.org " + host, "example.org " + host + "\n"},
			{"full", "clean", "", "", "", ""},
			{"incremental", "", "", host + " a comment", "", "* " + host + " a comment\n"},
			{"full", "copy", "", host, "", "* " + host + "\n"},
			{"full", "clean", ".", host, "", "* " + host + "\n"},
			{"full", "clean", "a b/c", host, "", "* " + host + "\n"},
		} {
			t.Run(fmt.Sprint(tt.mode, " ", tt.method, " ", tt.workDir), func(t *testing.T) {
				if strings.Contains(t.Name(), "stock") && tt.method != "clobber" && tt.workDir == "" {
					t.Skip("it is the same with both workers")
				}
				p := newPretender(t, key, tt.wrote)
				a := dormouse.Git{
					RepoURL: "git@example.org:" + r.dir, Mode: tt.mode, Method: tt.method, WorkDir: tt.workDir, Submodules: true,
					Env: p.env, SSHPrivateKey: expr.SecretRef{Name: "key"}, LogEnviron: true, Timeout: time.Minute,
				}
				if tt.hostKey != "" {
					a.SSHHostKey = tt.hostKey
				}
				if tt.knownHosts != "" {
					a.SSHKnownHosts = tt.knownHosts
				}
				m := &memory{}
				job := f.job(gitStep(a), sh("env", "env"))
				job.Secret = secretKey(key)
				job.Builder.BuildDir = "x y%z" // what ssh and the shell would take apart
				if tt.workDir == "." {
					job.Builder.BuildDir = "whole"
				}
				out := f.run(t, m, job, nil)
				if out.Result != dormouse.Success {
					t.Fatalf("%+v\n%s", out, m.text(0))
				}
				want := 2 // for the repository and its submodule
				if tt.method == "fresh" || tt.method == "clean" && tt.workDir == "" || tt.mode == "incremental" {
					want = 1 // the submodule is as it was
				}
				if got := strings.Count(p.read(t, "calls"), "called"); got != want {
					t.Errorf("ssh was called %d times, want %d", got, want)
				}
				for line := range strings.Lines(p.read(t, "modes")) {
					if line = strings.TrimSpace(line); line != "600" && line != "700" {
						t.Errorf("a file or directory of keys has mode %s", line)
					}
				}
				args := p.read(t, "args")
				for _, want := range []string{"StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "BatchMode=yes"} {
					if !strings.Contains(args, want+"\n") {
						t.Errorf("ssh was not told %s:\n%s", want, args)
					}
				}
				if strings.Contains(args, "GlobalKnownHostsFile=/dev/null\n") != (tt.wrote != "") {
					t.Errorf("ssh looks at other known hosts:\n%s", args)
				}
				if left := f.keys(t); left != nil {
					t.Errorf("left: %v", left)
				}
				if strings.Contains(m.text(1), "GIT_SSH") {
					t.Errorf("the next step's environment:\n%s", m.text(1))
				}
				for line := range strings.Lines(key) {
					if strings.Contains(m.text(0), strings.TrimSpace(line)) {
						t.Errorf("the log shows the key:\n%s", m.text(0))
					}
				}
			})
		}
	})
}

func TestGitRemovesAKey(t *testing.T) {
	r := newRepository(t)
	key, host := newKey()
	other, _ := newKey()
	step := func(p *pretender) dormouse.Git {
		return dormouse.Git{RepoURL: "ssh://git@example.org" + r.dir, SSHPrivateKey: key, SSHHostKey: host, Env: p.env}
	}
	t.Run("when the server refuses it", func(t *testing.T) {
		f, p := newFarm(t), newPretender(t, other, "")
		m, out := f.checkOut(t, step(p))
		if out.Result != dormouse.Failure || !strings.Contains(m.text(0), "hthe server refuses sshPrivateKey") {
			t.Errorf("%+v\n%s", out, m.text(0))
		}
		if left := f.keys(t); left != nil {
			t.Errorf("left: %v", left)
		}
	})
	t.Run("when the server is another", func(t *testing.T) {
		f, p := newFarm(t), newPretender(t, key, "other")
		m, out := f.checkOut(t, step(p))
		if out.Result != dormouse.Failure || !strings.Contains(m.text(0), "shows another key than the step expects") {
			t.Errorf("%+v\n%s", out, m.text(0))
		}
		if left := f.keys(t); left != nil {
			t.Errorf("left: %v", left)
		}
	})
	t.Run("when the server is not known", func(t *testing.T) {
		f, p := newFarm(t), newPretender(t, key, "other")
		a := step(p)
		a.SSHHostKey = nil
		m, out := f.checkOut(t, a)
		if out.Result != dormouse.Failure || !strings.Contains(m.text(0), "does not know the key of the server") {
			t.Errorf("%+v\n%s", out, m.text(0))
		}
	})
	farms(t, func(t *testing.T, f *farm) {
		p := newPretender(t, key, "* "+host+"\n")
		p.write(t, "wait", "")
		stop := make(chan string, 1)
		m := &memory{}
		seen := false
		m.watch = func(line dormouse.LogLine) {
			if strings.Contains(line.Text, "the key is here") && !seen {
				seen = len(f.keys(t)) > 0
				stop <- "enough"
			}
		}
		out := f.run(t, m, f.job(gitStep(step(p))), stop)
		if out.Result != dormouse.Cancelled || !seen {
			t.Errorf("stopped: %+v, the key was there: %v\n%s", out, seen, m.text(0))
		}
		if left := f.keys(t); left != nil {
			t.Errorf("left by a stopped build: %v", left)
		}
		if strings.Contains(m.text(0), strings.Split(key, "\n")[1]) || !strings.Contains(m.text(0), "<sshPrivateKey>") {
			t.Errorf("the key is not masked:\n%s", m.text(0))
		}
	})
	t.Run("when it has to be tried again elsewhere", func(t *testing.T) {
		f, p := newFarm(t), newPretender(t, key, "* "+host+"\n")
		p.write(t, "wait", "")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		m := &memory{watch: when("the key is here", func() { cancel(build.Interrupted{Reason: "EC2 takes it back"}) })}
		out := (&build.Runner{Store: m, Log: slog.New(slog.DiscardHandler)}).Run(ctx, f.job(gitStep(step(p))), nil)
		if out.Result != dormouse.Retry || f.keys(t) != nil {
			t.Errorf("%+v, left %v\n%s", out, f.keys(t), m.text(0))
		}
	})
	t.Run("of a build that was lost", func(t *testing.T) {
		f, p := newFarm(t), newPretender(t, key, "* "+host+"\n")
		for _, dir := range []string{".dormouse-git-x-99", ".dormouse-git-x-y-99", "dormouse-git-x-98"} {
			if err := os.MkdirAll(filepath.Join(f.dir, "x", dir, "key"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if m, out := f.checkOut(t, step(p)); out.Result != dormouse.Success {
			t.Fatalf("%+v\n%s", out, m.text(0))
		}
		left, err := os.ReadDir(filepath.Join(f.dir, "x"))
		if err != nil || len(left) != 3 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

func TestGitRefusesKeys(t *testing.T) {
	r := newRepository(t)
	key, host := newKey()
	for says, a := range map[string]dormouse.Git{
		"sshPrivateKey is empty":             {SSHPrivateKey: expr.PropertyRef{Name: "none"}},
		"need sshPrivateKey":                 {SSHHostKey: host},
		"not both":                           {SSHPrivateKey: key, SSHHostKey: host, SSHKnownHosts: "x " + host},
		"sshHostKey is not a host's key":     {SSHPrivateKey: key, SSHHostKey: "AAAA"},
		"sshHostKey is empty":                {SSHPrivateKey: key, SSHHostKey: " "},
		"sshKnownHosts is empty":             {SSHPrivateKey: key, SSHKnownHosts: "\n"},
		"ssh cannot be told of a key in":     {SSHPrivateKey: key, SSHHostKey: host},
		"not a private key that OpenSSH can": {RepoURL: "ssh://git@127.0.0.1:1/r.git", SSHPrivateKey: key, SSHHostKey: host},
	} {
		t.Run(says, func(t *testing.T) {
			f := newFarm(t)
			if a.RepoURL == nil {
				a.RepoURL = r.dir
			}
			job := f.job(gitStep(a))
			if strings.HasPrefix(says, "ssh can") {
				job.Builder.BuildDir = `a"b`
			}
			if strings.HasPrefix(says, "not a private") {
				p := newPretender(t, key, "")
				p.write(t, "ssh", "#!/bin/sh\necho 'Load key \"key\": error in libcrypto' >&2\necho 'git@x: Permission denied (publickey).' >&2\nexit 255\n")
				a.Env = p.env
				job.Builder.Steps = []dormouse.StepSpec{gitStep(a)}
			}
			m := &memory{}
			out := f.run(t, m, job, nil)
			if out.Result == dormouse.Success || !strings.Contains(m.text(0), says) || strings.Contains(m.text(0), strings.Split(key, "\n")[1]) {
				t.Errorf("%+v\n%s", out, m.text(0))
			}
		})
	}
}

// TestMasterDiesWithAKeyOnTheWorker kills the master at each write while a key is
// used, and has another one go on: the key is there as long as it is needed, and
// then no more.
func TestMasterDiesWithAKeyOnTheWorker(t *testing.T) {
	r := newRepository(t)
	key, host := newKey()
	job := func(f *farm, p *pretender) build.Job {
		j := f.job(gitStep(dormouse.Git{
			RepoURL: "git@example.org:" + r.dir, SSHPrivateKey: key, SSHHostKey: host, Env: p.env,
			Description: &dormouse.GitDescription{Always: true},
		}))
		j.Resumable, j.Abandon = true, notAbandoned(t)
		return j
	}
	check := func(t *testing.T, f *farm, m *memory, p *pretender, out build.Outcome) {
		t.Helper()
		if out.Result != dormouse.Success || m.props["got_revision"].Value != r.second || m.props["commit-description"].Value != r.second[:7] {
			t.Errorf("%+v, %v\n%s", out, m.props, m.text(0))
		}
		if left := f.keys(t); left != nil {
			t.Errorf("left: %v", left)
		}
		if calls := p.read(t, "calls"); calls != "called\n" {
			t.Errorf("ssh was called: %q", calls)
		}
	}
	f, _ := newResumingFarm(t)
	p := newPretender(t, key, "* "+host+"\n")
	m := &mortal{memory: &memory{}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	check(t, f, m.memory, p, (&build.Runner{Store: m, Announce: m.announce, Log: slog.New(slog.DiscardHandler)}).Run(ctx, job(f, p), nil))
	t.Logf("a build of %d writes", m.writes)

	for at := 1; at <= m.writes; at++ {
		t.Run(fmt.Sprint("at write ", at), func(t *testing.T) {
			t.Parallel()
			f, attached := newResumingFarm(t)
			p := newPretender(t, key, "* "+host+"\n")
			m := newMortal(at, at%2 == 0)
			life, ended := m.life(t, f)
			j := job(f, p)
			j.Reattach = comesBack(attached)
			out := (&build.Runner{Store: m, Announce: m.announce, Log: slog.New(slog.DiscardHandler)}).Run(life, j, nil)
			ended()
			if m.dead {
				j.Worker, j.Past = nil, m.past()
				if j.Build.Properties = m.props.Clone(); j.Build.Properties == nil {
					j.Build.Properties = dormouse.Properties{}
				}
				out = f.run(t, m.memory, j, nil)
			}
			check(t, f, m.memory, p, out)
		})
	}
}

// sshServer is a real sshd on this machine, which lets one key in.
func sshServer(t *testing.T, allowed string) (port int, hostKey string) {
	t.Helper()
	path, err := exec.LookPath("sshd")
	if err != nil {
		path = "/usr/sbin/sshd"
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("there is no sshd: apt-get install openssh-server")
	}
	if os.Getuid() != 0 {
		t.Skip("sshd lets nobody in who is not its own user, unless that is root")
	}
	dir := t.TempDir()
	private, public := realKey(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	files := map[string]string{
		"host_key": private, "authorized_keys": allowed + "\n",
		"config": fmt.Sprintf("ListenAddress 127.0.0.1\nPort %d\nHostKey %s/host_key\nAuthorizedKeysFile %s/authorized_keys\n"+
			"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nPidFile none\nUsePAM no\nStrictModes no\n", port, dir, dir),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	sshd := exec.Command(path, "-D", "-e", "-f", filepath.Join(dir, "config"))
	out := &strings.Builder{}
	ready := make(chan struct{})
	sshd.Stderr = &listening{Builder: out, ready: ready}
	ended, err := procs.Start(sshd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sshd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("sshd:\n%s", out)
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Skipf("sshd does not start here: %s", out)
	case <-time.After(patience):
		t.Fatal("sshd does not listen")
	}
	return port, public
}

// listening waits for sshd to say that it listens.
type listening struct {
	*strings.Builder
	ready chan struct{}
	once  sync.Once
}

func (l *listening) Write(p []byte) (int, error) {
	n, err := l.Builder.Write(p)
	if strings.Contains(l.String(), "Server listening on") {
		l.once.Do(func() { close(l.ready) })
	}
	return n, err
}

func TestGitOverSSH(t *testing.T) {
	r := newRepository(t)
	key, public := realKey(t)
	other, otherPublic := realKey(t)
	port, host := sshServer(t, public)
	url := fmt.Sprintf("ssh://root@127.0.0.1:%d%s", port, r.dir)
	farms(t, func(t *testing.T, f *farm) {
		for _, tt := range []struct {
			name string
			git  dormouse.Git
			want dormouse.Result
			says string
		}{
			{"a host key", dormouse.Git{SSHPrivateKey: key, SSHHostKey: host}, dormouse.Success, ""},
			{"known hosts", dormouse.Git{SSHPrivateKey: key, SSHKnownHosts: fmt.Sprintf("[127.0.0.1]:%d %s", port, host)}, dormouse.Success, ""},
			{"an unknown host", dormouse.Git{SSHPrivateKey: key}, dormouse.Failure, "does not know the key of the server"},
			{"another host", dormouse.Git{SSHPrivateKey: key, SSHHostKey: otherPublic}, dormouse.Failure, "shows another key"},
			{"another key", dormouse.Git{SSHPrivateKey: other, SSHHostKey: host}, dormouse.Failure, "the server refuses sshPrivateKey"},
			{"no key", dormouse.Git{SSHPrivateKey: "no key at all", SSHHostKey: host}, dormouse.Failure, "not a private key that OpenSSH can read"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				tt.git.RepoURL, tt.git.Mode, tt.git.Method, tt.git.Timeout = url, "full", "clobber", time.Minute
				job := f.job(gitStep(tt.git))
				job.Builder.BuildDir = "a b%c"
				m := &memory{}
				out := f.run(t, m, job, nil)
				if out.Result != tt.want || !strings.Contains(m.text(0), tt.says) || f.keys(t) != nil {
					t.Errorf("%+v, left %v\n%s", out, f.keys(t), m.text(0))
				}
			})
		}
	})
}
