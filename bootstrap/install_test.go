package bootstrap_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse/bootstrap"
	"github.com/dormouse-ci/dormouse/internal/testca"
)

// program is what the tests install: it says who calls it.
const program = `#!/bin/sh
case $1 in
--version) echo "dormouse v1.2.3" ;;
*) echo "program $*"; echo "secret $DORMOUSE_WORKER_PASSWORD" ;;
esac
`

// source is a master's port, as far as it serves programs.
type source struct {
	*httptest.Server
	programs *bootstrap.Binaries

	mu      sync.Mutex
	away    int // so many requests more get no answer
	starts  int // so many after that get 503
	methods []string
}

func newSource(t *testing.T, files map[string]string) *source {
	s := &source{}
	s.programs, _ = programs(t, files)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *source) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	away, starts := s.away > 0, s.starts > 0
	switch {
	case away:
		s.away--
	case starts:
		s.starts--
	}
	s.methods = append(s.methods, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	switch {
	case away:
		panic(http.ErrAbortHandler)
	case starts:
		http.Error(rw, "starting", http.StatusServiceUnavailable)
	default:
		s.programs.ServeHTTP(rw, r)
	}
}

func (s *source) options() bootstrap.Options {
	o := good()
	o.FetchURL = s.URL + bootstrap.Prefix
	o.Checksums = s.programs.Checksums()
	return o
}

func render(t *testing.T, o bootstrap.Options) []byte {
	t.Helper()
	script, err := bootstrap.UserData(o)
	if err != nil {
		t.Fatal(err)
	}
	return script
}

var linux = map[string]string{"dormouse-linux-amd64": program, "dormouse-linux-arm64": program + "# arm\n"}

func TestInstall(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		s := newSource(t, linux)
		code, output := m.boot(render(t, s.options()))
		if code != 0 || !strings.Contains(m.read("dev/console"), "installed dormouse v1.2.3") {
			t.Fatalf("exit code %d:\n%s", code, output)
		}
		want := []string{
			"systemctl enable dormouse-install.service",
			"useradd --system --user-group --create-home --home-dir " + m.root + "/var/lib/dormouse --shell /bin/sh dormouse",
			"systemctl daemon-reload",
			"systemctl enable dormouse-watchdog.service dormouse-worker.service",
			"systemctl start --no-block dormouse-watchdog.service",
			"systemctl start --no-block dormouse-worker.service",
		}
		if diff := cmp.Diff(want, m.calls()); diff != "" {
			t.Error(diff)
		}
		if got := m.read("usr/local/bin/dormouse"); got != program {
			t.Errorf("installed is %q", got)
		}
		for name, mode := range map[string]string{
			"usr/local/bin/dormouse": "-rwxr-xr-x", "etc/dormouse/worker.env": "-rw-------", "etc/dormouse": "drwx------",
			"etc/systemd/system/dormouse-worker.service": "-rw-r--r--",
		} {
			if got := m.mode(name); got != mode {
				t.Errorf("%s has mode %s, want %s", name, got, mode)
			}
		}
		settings := "DORMOUSE_MASTER=\"ws://ci.example.com:9989/\"\nDORMOUSE_INSTANCE_ID=\"auto\"\nDORMOUSE_WORKER_PASSWORD=\"hunter2\"\n"
		if diff := cmp.Diff(settings, m.read("etc/dormouse/worker.env")); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(output, "hunter2") || strings.Contains(m.read("dev/console"), "hunter2") {
			t.Errorf("the secret is shown:\n%s", output)
		}
		worker, watchdog := m.unit("dormouse-worker.service"), m.unit("dormouse-watchdog.service")
		env := []string{m.root + "/etc/dormouse/worker.env"}
		for _, check := range []struct {
			unit map[string][]string
			key  string
			want []string
		}{
			{worker, "User", []string{"dormouse"}},
			{worker, "ExecStart", []string{m.root + "/usr/local/bin/dormouse worker --basedir " + m.root + "/var/lib/dormouse/worker"}},
			{worker, "EnvironmentFile", env},
			{worker, "NoNewPrivileges", []string{"yes"}},
			{worker, "Restart", []string{"always"}},
			{worker, "RestartPreventExitStatus", []string{"4"}},
			{watchdog, "User", nil},
			{watchdog, "ExecStart", []string{m.root + "/usr/local/bin/dormouse watchdog"}},
			{watchdog, "EnvironmentFile", env},
			{watchdog, "Restart", []string{"always"}},
			{watchdog, "StartLimitAction", []string{"poweroff"}},
		} {
			if diff := cmp.Diff(check.want, check.unit[check.key]); diff != "" {
				t.Errorf("%s: %s", check.key, diff)
			}
		}

		// A second run changes nothing, and mends what was changed.
		m.write("usr/local/bin/dormouse", "broken")
		m.write("etc/dormouse/worker.env", "broken")
		if code, output := m.boot(render(t, s.options())); code != 0 {
			t.Fatalf("the second time: exit code %d:\n%s", code, output)
		}
		if m.read("usr/local/bin/dormouse") != program || m.read("etc/dormouse/worker.env") != settings || m.mode("etc/dormouse/worker.env") != "-rw-------" {
			t.Error("the second run did not mend it")
		}
		if diff := cmp.Diff(slices.Concat(want, want[:1], want[2:]), m.calls()); diff != "" {
			t.Error(diff)
		}
	})
}

// Every way to fetch and every way to measure does.
func TestInstallWith(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		s := newSource(t, linux)
		m.without("curl", "sha256sum")
		for _, set := range []struct{ fetch, measure string }{{"wget", "shasum"}, {"python3", "openssl"}, {"curl", "python3"}} {
			t.Run(set.fetch+" and "+set.measure, func(t *testing.T) {
				each := *m
				each.t, each.root, each.bin = t, filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "bin")
				if err := os.CopyFS(each.root, os.DirFS(m.root)); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command("cp", "-a", m.bin, each.bin).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				each.has(set.fetch, set.measure)
				if code, output := each.boot(render(t, s.options())); code != 0 {
					t.Fatalf("exit code %d:\n%s", code, output)
				}
				if each.read("usr/local/bin/dormouse") != program {
					t.Error("something else is installed")
				}
			})
		}
	})
}

// Where the master's certificate is of a CA of its own, each way to fetch knows it
// by what the user data say, and so do the agent and the watchdog; what the image
// trusts does not count.
func TestInstallOverTLS(t *testing.T) {
	ca, dir := testca.New(t), t.TempDir()
	file, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	ca.Issue(t, file, key, 1, time.Now().Add(20*time.Hour))
	pair, err := tls.LoadX509KeyPair(file, key)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, fetch := range []string{"curl", "wget", "python3"} {
		t.Run(fetch, func(t *testing.T) {
			eachShell(t, func(t *testing.T, m *machine) {
				s := &source{Server: httptest.NewUnstartedServer(nil)}
				s.programs, _ = programs(t, linux)
				s.Config.Handler = s
				s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
				s.StartTLS()
				t.Cleanup(s.Close)
				m.without("curl")
				m.has(fetch)
				o := s.options()
				o.Master, o.CA = "wss://ci.example.com:9989/", append([]byte("the CA of tests\nEND_OF_CA\n"), trusted...)
				if code, output := m.boot(render(t, o)); code != 0 || m.read("usr/local/bin/dormouse") != program {
					t.Fatalf("exit code %d:\n%s", code, output)
				}
				if got := m.read("etc/dormouse-ca.pem"); got != string(trusted) || m.mode("etc/dormouse-ca.pem") != "-rw-r--r--" {
					t.Errorf("the CA's file, of mode %s, is %q", m.mode("etc/dormouse-ca.pem"), got)
				}
				if got := m.read("etc/dormouse/worker.env"); !strings.Contains(got, "DORMOUSE_CA_FILE=\"/etc/dormouse-ca.pem\"\n") {
					t.Errorf("the settings are %q", got)
				}
			})
		})
	}
}

// The image may have the user already.
func TestInstallForAnExistingUser(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		m.stub("id", "exit 0")
		if code, output := m.boot(render(t, newSource(t, linux).options())); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, output)
		}
		if got := m.calls()[1]; got != "chown dormouse "+m.root+"/var/lib/dormouse" {
			t.Error(got)
		}
	})
}

// A master that is away, and one that starts, are waited for.
func TestInstallWaits(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		s := newSource(t, linux)
		s.away, s.starts = 3, 4
		code, output := m.boot(render(t, s.options()))
		if code != 0 || m.read("usr/local/bin/dormouse") != program {
			t.Fatalf("exit code %d:\n%s", code, output)
		}
		want := []string{"sleep 1", "sleep 2", "sleep 4", "sleep 5", "sleep 5", "sleep 5", "sleep 5"}
		if diff := cmp.Diff(want, m.calls()[1:8]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestInstallGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, m *machine, s *source, o *bootstrap.Options)
		why  string
		// sleeps are how long it waited in all, in seconds
		sleeps int
	}{
		{"nobody there", func(_ *testing.T, _ *machine, s *source, _ *bootstrap.Options) { s.Close() }, "could not be fetched in ten minutes", 602},
		{"gone", func(_ *testing.T, _ *machine, _ *source, o *bootstrap.Options) { o.FetchURL += "elsewhere/" }, "could not be fetched in ten minutes", 602},
		{"another program", func(_ *testing.T, _ *machine, _ *source, o *bootstrap.Options) {
			o.Checksums = map[string]string{"linux-amd64": sum}
		}, "another program now", 3},
		{"no fetcher", func(_ *testing.T, m *machine, _ *source, _ *bootstrap.Options) { m.without("curl") }, "none of curl, wget and python3", 0},
		{"no measure", func(_ *testing.T, m *machine, _ *source, _ *bootstrap.Options) { m.without("sha256sum") }, "none of sha256sum, shasum, openssl and python3", 0},
		{"unknown processor", func(_ *testing.T, m *machine, _ *source, _ *bootstrap.Options) {
			m.stub("uname", `case $1 in -s) echo Linux ;; -m) echo riscv64 ;; esac`)
		}, "processors of type riscv64", 0},
		{"unknown system", func(_ *testing.T, m *machine, _ *source, _ *bootstrap.Options) { m.stub("uname", "echo FreeBSD") }, "this is FreeBSD", 0},
		{"no program for it", func(_ *testing.T, _ *machine, _ *source, o *bootstrap.Options) {
			o.Checksums = map[string]string{"linux-arm64": sum}
		}, "no program for linux-amd64", 0},
		{"program that does not run", func(t *testing.T, _ *machine, _ *source, o *bootstrap.Options) {
			*o = newSource(t, map[string]string{"dormouse-linux-amd64": "#!/nonexistent\n"}).options()
		}, "the program does not run here", 0},
		{"no user", func(_ *testing.T, m *machine, _ *source, _ *bootstrap.Options) {
			m.stub("useradd", "exit 1")
		}, "the user dormouse could not be made", 0},
		{"a failure that nobody foresaw", func(_ *testing.T, m *machine, _ *source, _ *bootstrap.Options) {
			m.without("mkdir")
			m.stub("mkdir", "exit 7")
		}, "its installation ended with status 7", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachShell(t, func(t *testing.T, m *machine) {
				s := newSource(t, linux)
				o := s.options()
				tt.make(t, m, s, &o)
				code, output := m.boot(render(t, o))
				m.off(code, output, tt.why)
				slept := 0
				for _, call := range m.calls() {
					var n int
					if _, err := fmt.Sscanf(call, "sleep %d", &n); err == nil {
						slept += n
					}
				}
				if slept != tt.sleeps {
					t.Errorf("it waited %d s, want %d: %q", slept, tt.sleeps, m.calls())
				}
			})
		})
	}
}

// What a request takes counts, too: a network that swallows it has no ten minutes for
// each.
func TestInstallCountsRequests(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		m.make("proc")
		m.write("proc/uptime", "20.50 10.00\n")
		m.without("curl")
		m.stub("curl", `echo curl >>"$LOG"; read -r up idle <"$DORMOUSE_BOOTSTRAP_ROOT/proc/uptime"
echo "$((${up%.*} + 10)).50 0.00" >"$DORMOUSE_BOOTSTRAP_ROOT/proc/uptime"
echo "curl: (28) Connection timed out" >&2; exit 28`)
		code, output := m.boot(render(t, newSource(t, linux).options()))
		m.off(code, output, "ten minutes: can this machine reach the master, and do its security groups allow it? (curl: (28) Connection timed out)")
		tries := strings.Count(strings.Join(m.calls(), " "), "curl")
		if tries < 20 || tries > 25 {
			t.Errorf("%d tries of 10 s", tries)
		}
	})
}

// Where systemd does not power the machine off, the next one does; and a machine
// without systemd is no place for a worker.
func TestPowersOffOtherwise(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		m.without("systemctl", "poweroff")
		code, output := m.boot(render(t, newSource(t, linux).options()))
		if want := []string{"shutdown -h now"}; code == 0 || !cmp.Equal(want, m.calls()) || !strings.Contains(output, "the image has no systemd") {
			t.Errorf("exit code %d, calls %q:\n%s", code, m.calls(), output)
		}
	})
}

// An instance of the local endpoint is a process of somebody's own machine,
// which must stay as it is.
func TestLocalEndpointRefused(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		script := render(t, newSource(t, linux).options())
		cmd := exec.CommandContext(t.Context(), m.shell[0], append(m.shell[1:], "-s")...)
		cmd.Stdin = strings.NewReader(string(script))
		cmd.Env = []string{"PATH=" + m.bin, "LOG=" + m.log, "DORMOUSE_INSTANCE_ID=i-1"}
		m.stub("uname", "echo Plan9") // should it go on all the same, it does not go far
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "local EC2 endpoint") || !cmp.Equal(m.calls(), []string{"systemctl poweroff"}) {
			t.Errorf("%v, calls %q:\n%s", err, m.calls(), out)
		}
	})
}

// Whatever a secret or a name holds, the services see it as it is, and nothing
// of it runs.
func TestInstallQuotes(t *testing.T) {
	const hostile = `a'b"c\d$e` + "`systemctl reboot`" + `$(systemctl reboot)  #; & %n |\`
	eachShell(t, func(t *testing.T, m *machine) {
		s := newSource(t, linux)
		o := s.options()
		o.Secret, o.Name = hostile, hostile
		if code, output := m.boot(render(t, o)); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, output)
		}
		run := `set -a; . "$DORMOUSE_BOOTSTRAP_ROOT/etc/dormouse/worker.env"; printf '%s\n' "$DORMOUSE_WORKER_NAME"; exec "$DORMOUSE_BOOTSTRAP_ROOT/usr/local/bin/dormouse" worker`
		cmd := exec.CommandContext(t.Context(), m.shell[0], append(m.shell[1:], "-c", run)...)
		cmd.Env = m.environ()
		out, err := cmd.CombinedOutput()
		if want := hostile + "\nprogram worker\nsecret " + hostile + "\n"; err != nil || string(out) != want {
			t.Errorf("%v\n got %q\nwant %q", err, out, want)
		}
		if strings.Contains(fmt.Sprint(m.calls()), "reboot") {
			t.Errorf("it ran: %q", m.calls())
		}
	})
}

// systemd reads the units as they are meant.
func TestUnits(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	m := newMachine(t, shells[0])
	if code, output := m.boot(render(t, newSource(t, linux).options())); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, output)
	}
	out, err := exec.Command(verify, "verify", m.root+"/etc/systemd/system/dormouse-worker.service", m.root+"/etc/systemd/system/dormouse-watchdog.service").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// The units that the documentation publishes are those that are installed, but for
// the watchdog's file of settings.
func TestPublishedUnits(t *testing.T) {
	page, err := os.ReadFile("../docs/watchdog.md")
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, shells[0])
	if code, output := m.boot(render(t, newSource(t, linux).options())); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, output)
	}
	for name, settings := range map[string]string{"dormouse-watchdog.service": "/etc/dormouse/watchdog.env", "dormouse-worker.service": "/etc/dormouse/worker.env"} {
		_, rest, _ := strings.Cut(string(page), name+"`:\n\n```ini\n")
		published, _, _ := strings.Cut(rest, "```")
		installed := strings.ReplaceAll(m.read("etc/systemd/system/"+name), m.root, "")
		installed = strings.Replace(installed, "/etc/dormouse/worker.env", settings, 1)
		if diff := cmp.Diff(installed, published); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What a reset has left half done is mended at the next boot, and what is whole is
// not fetched again.
func TestInstallAtEachBoot(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		s := newSource(t, linux)
		if code, output := m.boot(render(t, s.options())); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, output)
		}
		unit := m.unit("dormouse-install.service")
		copied := m.root + "/etc/dormouse/install"
		if diff := cmp.Diff([]string{"/bin/sh " + copied}, unit["ExecStart"]); diff != "" || m.mode("etc/dormouse/install") != "-rwx------" {
			t.Errorf("its copy has mode %s: %s", m.mode("etc/dormouse/install"), diff)
		}
		whole := map[string]string{}
		for _, name := range []string{"usr/local/bin/dormouse", "etc/dormouse/worker.env", "etc/systemd/system/dormouse-worker.service", "etc/systemd/system/dormouse-watchdog.service"} {
			whole[name] = m.read(name)
		}
		for fetched, left := range []map[string]string{
			{},
			{"usr/local/bin/dormouse": program[:20]},
			{"usr/local/bin/dormouse": "", "etc/dormouse/worker.env": "", "etc/systemd/system/dormouse-worker.service": "[Unit]\n", "etc/systemd/system/dormouse-watchdog.service": ""},
		} {
			for name, text := range left {
				m.write(name, text)
			}
			if code, output := m.run(copied); code != 0 {
				t.Fatalf("%q: exit code %d:\n%s", left, code, output)
			}
			for name, text := range whole {
				if got := m.read(name); got != text {
					t.Errorf("%q: %s is %q", left, name, got)
				}
			}
			if got := len(s.methods) - 1; got != fetched {
				t.Errorf("%q: fetched %d times again, want %d", left, got, fetched)
			}
		}
	})
}

// What gets its name is on the disk before that, and its name is after it.
func TestInstallSyncs(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		for _, name := range []string{"sync", "mv"} {
			real, err := os.Readlink(filepath.Join(m.bin, name))
			if err != nil {
				t.Fatal(err)
			}
			m.without(name)
			m.stub(name, `echo "`+name+` $*" >>"$LOG"; exec `+real+` "$@"`)
		}
		if code, output := m.boot(render(t, newSource(t, linux).options())); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, output)
		}
		calls := m.calls()
		var named []string
		for i, call := range calls {
			words := strings.Fields(call)
			if words[0] != "mv" {
				continue
			}
			from, to := words[2], words[3]
			named = append(named, strings.TrimPrefix(to, m.root))
			if before, after := "sync "+from, "sync "+filepath.Dir(to); calls[i-1] != before || calls[i+1] != after {
				t.Errorf("%s comes between %q and %q, want %q and %q", call, calls[i-1], calls[i+1], before, after)
			}
		}
		slices.Sort(named)
		want := []string{
			"/etc/dormouse/install", "/etc/dormouse/worker.env", "/etc/systemd/system/dormouse-install.service",
			"/etc/systemd/system/dormouse-watchdog.service", "/etc/systemd/system/dormouse-worker.service", "/usr/local/bin/dormouse",
		}
		if diff := cmp.Diff(want, named); diff != "" {
			t.Error(diff)
		}
		if last := calls[len(calls)-1]; strings.TrimSpace(last) != "sync" {
			t.Errorf("the last call is %q", last)
		}
	})
}

// A machine that stops tells the script and what it has called: that is no failure to
// power it off.
func TestStopEndsTheScript(t *testing.T) {
	eachShell(t, func(t *testing.T, m *machine) {
		m.without("systemctl")
		m.stub("systemctl", `echo "systemctl $*" >>"$LOG"; [ "$1" != poweroff ] || { kill -TERM $PPID; kill -TERM $$; }`)
		m.stub("id", "exit 1")
		m.stub("useradd", `kill -TERM $PPID; exit 0`) // the stop comes in mid-installation
		code, output := m.boot(render(t, newSource(t, linux).options()))
		m.off(code, output, "the installation was told to end")
		if console := m.read("dev/console"); !strings.HasSuffix(console, "dormouse: powering off\n") || strings.Contains(console, "cannot") {
			t.Errorf("the console says\n%s", console)
		}
	})
}
