//go:build unix

package ec2sim

import (
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
)

// newLocalServer makes an endpoint whose machines are processes.
func newLocalServer(t *testing.T, change ...func(*Options)) *Server {
	t.Helper()
	opts := Options{Dir: t.TempDir(), BootDelay: -1, StopGrace: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The test's own context has ended.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func script(text string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(text)))
	}
}

func terminateOnShutdown(in *ec2.RunInstancesInput) {
	in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
}

// eventually waits for something that other processes do.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to pass: %s", what)
		}
	}
}

func (s *Server) stateOf(id string) dormouse.InstanceState {
	for _, e := range s.Ledger().Instances {
		if e.ID == id {
			return e.State
		}
	}
	return ""
}

// processesOf lists the processes that carry an instance's marker.
func processesOf(id string) []int {
	return machineProcesses(math.MaxInt32, markerVariable+"="+id)
}

func TestMachineRunsItsUserData(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "the endpoint's own")
	t.Setenv("PASSED", "on")
	s := newLocalServer(t, func(o *Options) { o.PassEnv = []string{"PASSED", "NOT_SET"} })
	client := newClient(s)
	id := *run(t, client, script("#!/bin/sh\nenv; pwd; for p in poweroff shutdown halt; do command -v $p; done; echo to stderr >&2; echo all said\nexit 4\n")).Instances[0].InstanceId
	eventually(t, "it ended", func() bool { return strings.Contains(consoleOf(t, client, id), "has ended") })
	text := consoleOf(t, client, id)
	dir := filepath.Join(s.opts.Dir, id)
	for _, want := range []string{
		"HOME=" + dir + "/home\n", "TMPDIR=" + dir + "/tmp\n", "PATH=" + dir + "/bin:", "PASSED=on\n", "LANG=C.UTF-8\n",
		"\n" + dir + "/home\n", dir + "/bin/poweroff\n", dir + "/bin/shutdown\n", dir + "/bin/halt\n", "to stderr\n", "all said\n",
		"(exit status 4)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the console lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "AWS_SECRET_ACCESS_KEY") {
		t.Error("the machine has the endpoint's credentials")
	}
	address := regexp.MustCompile(`AWS_EC2_METADATA_SERVICE_ENDPOINT=(http://127\.0\.0\.1:\d+/)`).FindStringSubmatch(text)
	if address == nil {
		t.Fatal("no metadata address")
	}
	res, err := http.Get(address[1] + "latest/meta-data/instance-id")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); string(got) != id {
		t.Errorf("the metadata is that of %q", got)
	}
	if got := s.stateOf(id); got != dormouse.InstanceRunning {
		t.Errorf("it is %s", got)
	}
	terminate(t, client, id)
	eventually(t, "terminated", func() bool { return s.stateOf(id) == dormouse.InstanceTerminated })
	eventually(t, "its directory is gone", func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) })
	if got := consoleOf(t, client, id); !strings.Contains(got, "all said") {
		t.Errorf("after its end the console is %q", got)
	}
}

// A launch that wants its metadata over IPv6, too, has them at the same port.
func TestMachineHasMetadataOverIPv6(t *testing.T) {
	s := newLocalServer(t)
	client := newClient(s)
	id := *run(t, client, script("#!/bin/sh\necho at $AWS_EC2_METADATA_SERVICE_ENDPOINT\nsleep 100\n"), func(in *ec2.RunInstancesInput) {
		in.MetadataOptions = &types.InstanceMetadataOptionsRequest{HttpProtocolIpv6: types.InstanceMetadataProtocolStateEnabled}
	}).Instances[0].InstanceId
	var port string
	eventually(t, "the metadata's address", func() bool {
		if m := regexp.MustCompile(`at http://127\.0\.0\.1:(\d+)/`).FindStringSubmatch(consoleOf(t, client, id)); m != nil {
			port = m[1]
		}
		return port != ""
	})
	defer http.DefaultClient.CloseIdleConnections()
	if strings.Contains(consoleOf(t, client, id), "no metadata service over IPv6") {
		if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
			l.Close()
			t.Error("this machine has IPv6, and the metadata service does not")
		}
		return
	}
	response, err := http.Get("http://[::1]:" + port + "/latest/meta-data/instance-id")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); string(text) != id {
		t.Errorf("over IPv6 it says %q", text)
	}
}

func TestMachineWithoutAScript(t *testing.T) {
	s := newLocalServer(t)
	client := newClient(s)
	id := *run(t, client, script("{}")).Instances[0].InstanceId
	eventually(t, "it says so", func() bool { return strings.Contains(consoleOf(t, client, id), "no script") })
	eventually(t, "running", func() bool { return s.stateOf(id) == dormouse.InstanceRunning })
	terminate(t, client, id)
	eventually(t, "terminated", func() bool { return s.stateOf(id) == dormouse.InstanceTerminated })
}

func TestMachineWhoseProgramIsMissing(t *testing.T) {
	s := newLocalServer(t, func(o *Options) {
		o.Images = []Image{{ID: "ami-00000001", BootCommand: []string{"no-such-program"}}}
	})
	client := newClient(s)
	id := *run(t, client, func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-00000001") }).Instances[0].InstanceId
	eventually(t, "terminated", func() bool { return s.stateOf(id) == dormouse.InstanceTerminated })
	if text := consoleOf(t, client, id); !strings.Contains(text, `no program "no-such-program"`) {
		t.Errorf("console: %q", text)
	}
}

func TestMachinePowersItselfOff(t *testing.T) {
	for _, command := range []string{"poweroff", "halt", "shutdown -h now", "systemctl poweroff"} {
		t.Run(command, func(t *testing.T) {
			s := newLocalServer(t)
			client := newClient(s)
			id := *run(t, client, terminateOnShutdown, script("#!/bin/sh\nsleep 1000 &\n"+command+"\nwait\n")).Instances[0].InstanceId
			eventually(t, "terminated", func() bool { return s.stateOf(id) == dormouse.InstanceTerminated })
			if left := processesOf(id); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
			if e := s.Ledger().Instances[0]; !strings.HasPrefix(e.Reason, "Client.InstanceInitiatedShutdown") {
				t.Errorf("reason %q", e.Reason)
			}
		})
	}
}

func TestWhatIsNoPowerOff(t *testing.T) {
	s := newLocalServer(t)
	client := newClient(s)
	id := *run(t, client, script("#!/bin/sh\nreboot; shutdown -r now; shutdown -c; systemctl daemon-reload; echo over\n")).Instances[0].InstanceId
	eventually(t, "it ended", func() bool { return strings.Contains(consoleOf(t, client, id), "has ended") })
	text := consoleOf(t, client, id)
	if strings.Count(text, "cannot reboot") != 2 || strings.Count(text, "no systemd") != 1 || !strings.Contains(text, "over\n") {
		t.Errorf("console: %s", text)
	}
	if got := s.stateOf(id); got != dormouse.InstanceRunning {
		t.Errorf("it is %s", got)
	}
}

func TestStoppedMachineKeepsItsDisk(t *testing.T) {
	s := newLocalServer(t)
	client := newClient(s)
	id := *run(t, client, script("#!/bin/sh\necho kept >kept\npoweroff\n")).Instances[0].InstanceId
	eventually(t, "stopped", func() bool { return s.stateOf(id) == dormouse.InstanceStopped })
	dir := filepath.Join(s.opts.Dir, id)
	if text, err := os.ReadFile(filepath.Join(dir, "home", "kept")); err != nil || string(text) != "kept\n" {
		t.Errorf("%q, %v", text, err)
	}
	terminate(t, client, id)
	eventually(t, "its directory is gone", func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) })
}

// hostile is a machine that does not want to end: it ignores SIGTERM, has a
// child in another session, one without an environment, and one that was
// orphaned in another session, and it makes its directories read-only.
const hostile = `#!/bin/sh
trap '' TERM
setsid sleep 1000 &
env -i /bin/sleep 1000 &
setsid sh -c 'trap "" TERM; sleep 1000 & sleep 1000' &
(setsid sh -c 'sleep 1000 & exec sleep 1000' &)
mkdir -p cache/module && echo x >cache/module/file && chmod 500 cache/module cache
echo ready
sleep 1000
exec sleep 1000
`

func TestStartedMachineFindsItsDisk(t *testing.T) {
	s := newLocalServer(t)
	client := newClient(s)
	id := *run(t, client, script("#!/bin/sh\necho boot >>\"$HOME/boots\"\ngrep -c boot \"$HOME/boots\"\nexec sleep 1000\n")).Instances[0].InstanceId
	printed := func(text string) func() bool {
		return func() bool {
			out, err := client.GetConsoleOutput(t.Context(), &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
			if err != nil {
				t.Fatal(err)
			}
			console, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
			return err == nil && strings.Contains(string(console), text)
		}
	}
	eventually(t, "the first boot", printed("1\n"))
	if _, err := client.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the machine is stopped", func() bool { return s.stateOf(id) == dormouse.InstanceStopped })
	if left := processesOf(id); len(left) > 0 {
		t.Errorf("processes %v run in a stopped machine", left)
	}
	if _, err := client.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: []string{id}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second boot on the same disk", printed("2\n"))
	terminate(t, client, id)
	eventually(t, "the end", func() bool { return s.stateOf(id) == dormouse.InstanceTerminated })
}

func TestTerminationKillsEverything(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a process that leaves its group is followed on Linux only")
	}
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("no setsid here")
	}
	for name, end := range map[string]func(*testing.T, *Server, string){
		"terminated": func(t *testing.T, s *Server, id string) { terminate(t, newClient(s), id) },
		"closed":     closeServer,
	} {
		t.Run(name, func(t *testing.T) {
			s := newLocalServer(t)
			client := newClient(s)
			id := *run(t, client, script(hostile)).Instances[0].InstanceId
			// Six of them carry the marker: the script, its sleep and four others.
			eventually(t, "it is up", func() bool {
				return strings.Contains(consoleOf(t, client, id), "ready") && len(processesOf(id)) >= 6
			})
			s.mu.Lock()
			group := s.byID[id].process.(*localMachine).command.Process.Pid
			s.mu.Unlock()
			end(t, s, id)
			eventually(t, "terminated", func() bool { return s.stateOf(id) == dormouse.InstanceTerminated })
			if left := machineProcesses(group, markerVariable+"="+id); len(left) > 0 {
				t.Errorf("processes %v are left", left)
			}
			eventually(t, "its directory is gone", func() bool {
				_, err := os.Stat(filepath.Join(s.opts.Dir, id))
				return os.IsNotExist(err)
			})
		})
	}
}

func closeServer(t *testing.T, s *Server, _ string) {
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := s.Ledger().Alive(); n != 0 {
		t.Errorf("%d instances are alive", n)
	}
}

// A boot process that ends leaves its number and its group to the machine until
// the machine ends: what it left in the group without a marker is still found.
func TestChildrenOfAnEndedBootProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("tells living processes from zombies on Linux only")
	}
	s := newLocalServer(t)
	client := newClient(s)
	id := *run(t, client, script("#!/bin/sh\nenv -i /bin/sleep 1000 &\n")).Instances[0].InstanceId
	eventually(t, "it ended", func() bool { return strings.Contains(consoleOf(t, client, id), "has ended") })
	s.mu.Lock()
	group := s.byID[id].process.(*localMachine).command.Process.Pid
	s.mu.Unlock()
	eventually(t, "the child runs", func() bool { return len(machineProcesses(group, "no=marker")) == 1 })
	terminate(t, client, id)
	eventually(t, "terminated", func() bool { return s.stateOf(id) == dormouse.InstanceTerminated })
	if left := machineProcesses(group, "no=marker"); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

// A machine must not outlive an endpoint that was killed.
func TestMachineDiesWithAKilledEndpoint(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Linux sends a signal to children whose parent has died")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), endpointVariable+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	id = strings.TrimSpace(id)
	eventually(t, "it runs", func() bool { return len(processesOf(id)) == 1 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	eventually(t, "it is gone", func() bool { return len(processesOf(id)) == 0 })
}

func TestKeepDirs(t *testing.T) {
	s := newLocalServer(t, func(o *Options) { o.KeepDirs = true })
	client := newClient(s)
	id := *run(t, client, terminateOnShutdown, script("#!/bin/sh\necho x >kept\npoweroff\n")).Instances[0].InstanceId
	eventually(t, "terminated", func() bool { return s.stateOf(id) == dormouse.InstanceTerminated })
	closeServer(t, s, id)
	if _, err := os.Stat(filepath.Join(s.opts.Dir, id, "home", "kept")); err != nil {
		t.Error(err)
	}
}
