package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// stopTime is how long a machine may take to shut down before its power is cut,
// as EC2 does, after some minutes, too.
const stopTime = 20 * time.Second

// host starts machines.
type host struct {
	image, dir string
	diskMiB    int
	metadata   *metadata

	mu       sync.Mutex
	machines []*machine // in the order of their start
}

// boot is an [ec2sim.Boot].
func (h *host) boot(ctx context.Context, from ec2sim.Machine) (ec2sim.Process, error) {
	m := &machine{Machine: from, image: h.image, dir: filepath.Join(h.dir, from.ID)}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, err
	}
	console, err := os.Create(filepath.Join(h.dir, from.ID+".console"))
	if err != nil {
		return nil, err
	}
	m.log = console
	h.metadata.set(m.PrivateIP, m.Metadata)
	if err := m.makeDisk(ctx, h.diskMiB); err != nil {
		return nil, err
	}
	if err := m.powerOn(ctx); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.machines = append(h.machines, m)
	return m, nil
}

// machine returns the one of an instance; nil where it has not booted.
func (h *host) machine(id string) *machine {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.machines {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// machine is a container that has everything a machine has but a kernel.
type machine struct {
	ec2sim.Machine
	image, dir string
	log        *os.File  // its console, from its first boot on
	launchedAt time.Time // as the master has it

	mu      sync.Mutex
	nspawn  *exec.Cmd
	ended   chan struct{} // closed when nspawn has
	cut     bool          // its power is being cut: its end is no shutdown of its own
	goneAt  time.Time
	console strings.Builder
}

func (m *machine) disk() string { return filepath.Join(m.dir, "disk") }
func (m *machine) root() string { return filepath.Join(m.dir, "root") }

// makeDisk makes the machine's disk, and the id by which it knows that it is on
// EC2: "the value starts with ec2" (EC2 User Guide, "Detect whether a host is an
// EC2 instance").
func (m *machine) makeDisk(ctx context.Context, mib int) error {
	h := fmt.Sprintf("%x", sha256.Sum256([]byte(m.ID)))
	uuid := fmt.Sprintf("ec2%s-%s-4%s-8%s-%s\n", h[:5], h[5:9], h[9:12], h[12:15], h[15:27])
	if err := os.WriteFile(filepath.Join(m.dir, "uuid"), []byte(uuid), 0o644); err != nil {
		return err
	}
	return runAll(ctx, fmt.Sprintf(`
		truncate -s %dM %s.img
		mkfs.ext4 -q -m 0 %s.img
		mkdir %s %s`, mib, m.disk(), m.disk(), m.disk(), m.root()))
}

// mount puts the disk over the image.
func (m *machine) mount(ctx context.Context) error {
	d := m.disk()
	return runAll(ctx, fmt.Sprintf(`
		mount -o loop %s.img %s
		mkdir -p %s/upper %s/work
		mount -t overlay overlay -o lowerdir=%s,upperdir=%s/upper,workdir=%s/work %s`, d, d, d, d, m.image, d, d, m.root()))
}

func (m *machine) unmount() error {
	return runAll(context.Background(), "umount "+m.root()+"\numount "+m.disk())
}

// powerOn starts the machine, with what is on its disk.
func (m *machine) powerOn(ctx context.Context) error {
	if err := errors.Join(m.mount(ctx), writeNetwork(m.root(), m.Machine)); err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", "-c", inCgroup+`exec systemd-nspawn --quiet --register=no --keep-unit --directory="$2" --machine="$1" \
		--network-bridge=`+bridge+` --bind-ro="$3":/sys/hypervisor/uuid --resolv-conf=off --timezone=off --link-journal=no \
		--console=read-only --boot`, "sh", m.ID, m.root(), filepath.Join(m.dir, "uuid"))
	out := io.MultiWriter(m.Console, m.log, &watched{m})
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, m.unmount())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nspawn, m.ended, m.cut = cmd, make(chan struct{}), false
	go m.await(cmd, m.ended)
	return nil
}

// await waits until the machine is off, and tells the endpoint where that was the
// machine's own doing.
func (m *machine) await(cmd *exec.Cmd, ended chan struct{}) {
	_ = cmd.Wait() // how a machine ends is no error
	m.mu.Lock()
	own := !m.cut
	if own {
		m.goneAt = time.Now()
	}
	m.mu.Unlock()
	close(ended)
	if own {
		m.PowerOff()
	}
}

// watched keeps what the machine prints.
type watched struct{ m *machine }

func (w *watched) Write(p []byte) (int, error) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	return w.m.console.Write(p)
}

// said reports whether the machine has printed a text.
func (m *machine) said(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Contains(m.console.String(), text)
}

// gone is when the machine was off; zero where it is not.
func (m *machine) gone() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.goneAt
}

// init is the machine's first process, by its number here.
func (m *machine) init() (int, error) {
	m.mu.Lock()
	pid := m.nspawn.Process.Pid
	m.mu.Unlock()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	children := strings.Fields(string(text))
	if len(children) == 0 {
		return 0, errors.New("the machine is off")
	}
	return strconv.Atoi(children[0])
}

// run runs a command on the machine, as root.
func (m *machine) run(ctx context.Context, command string) error {
	pid, err := m.init()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "nsenter", "--target", strconv.Itoa(pid), "--all", "/bin/sh", "-c", command).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s on %s: %w: %s", command, m.ID, err, out)
	}
	return nil
}

// cutPower ends everything on the machine at once, and its peers hear nothing of it:
// processes that are killed would close their connections.
func (m *machine) cutPower() error {
	m.mu.Lock()
	m.cut = true
	ended := m.ended
	m.mu.Unlock()
	pid, err := m.init()
	if err != nil {
		return err
	}
	if err := pullCable(pid); err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	<-ended
	return nil
}

// crash cuts the machine's power, and leaves it the disk with what had reached it
// by then.
func (m *machine) crash(ctx context.Context) error {
	if err := m.cutPower(); err != nil {
		return err
	}
	d := m.disk()
	// Unmounting would write what only the kernel's memory has: the copy is without.
	if err := runAll(ctx, "cp --sparse=always "+d+".img "+d+".left"); err != nil {
		return err
	}
	if err := m.unmount(); err != nil {
		return err
	}
	return os.Rename(d+".left", d+".img")
}

// reset is what a machine's reset button does.
func (m *machine) reset(ctx context.Context) error {
	if err := m.crash(ctx); err != nil {
		return err
	}
	return m.powerOn(ctx)
}

// Stop shuts the machine down, or cuts its power.
func (m *machine) Stop(ctx context.Context) error {
	m.mu.Lock()
	m.cut = true
	cmd, ended := m.nspawn, m.ended
	m.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGTERM) // nspawn has the machine shut down; it may be off
	select {
	case <-ended:
	case <-time.After(stopTime):
		if err := m.cutPower(); err != nil {
			_ = cmd.Process.Kill()
			<-ended
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.goneAt.IsZero() {
		m.goneAt = time.Now()
	}
	return nil
}

// Discard removes the machine and its disk.
func (m *machine) Discard() error {
	return errors.Join(m.unmount(), os.RemoveAll(m.dir), m.log.Close())
}
