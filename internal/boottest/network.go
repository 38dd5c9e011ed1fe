package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// The addresses of the VPC: the endpoint's default one, whose first address is the
// router's, and here the master's, too.
const (
	masterIP   = "172.31.0.1"
	vpcBits    = "16"
	metadataIP = "169.254.169.254"
	bridge     = "vpc"
)

// makeNetwork makes the VPC, in this program's own network namespace.
func makeNetwork(ctx context.Context) error {
	return runAll(ctx, `
		ip link set lo up
		ip link add `+bridge+` type bridge
		ip addr add `+masterIP+`/`+vpcBits+` dev `+bridge+`
		ip addr add `+metadataIP+`/32 dev `+bridge+`
		ip link set `+bridge+` up`)
}

// networkFile are the commands of ip(8) that configure the machine's network
// interface, which has nspawn's name.
const networkFile = `link set host0 address %s up
address add %s/` + vpcBits + ` dev host0
route add default via ` + masterIP + `
`

// writeNetwork writes the file onto the machine's disk.
func writeNetwork(root string, m ec2sim.Machine) error {
	return os.WriteFile(filepath.Join(root, "etc/vpc"), fmt.Appendf(nil, networkFile, m.MAC, m.PrivateIP), 0o644)
}

// pullCable cuts off the machine whose first process that is.
func pullCable(pid int) error {
	out, err := exec.Command("nsenter", "--target", strconv.Itoa(pid), "--all", "cat", "/sys/class/net/host0/iflink").Output()
	if err != nil {
		return fmt.Errorf("find the other end of a machine's cable: %w", err)
	}
	index, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		return err
	}
	end, err := net.InterfaceByIndex(index)
	if err != nil {
		return err
	}
	return runAll(context.Background(), "ip link set "+end.Name+" down")
}

// runAll runs commands, one a line, until one fails.
func runAll(ctx context.Context, commands string) error {
	for line := range strings.Lines(commands) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, out)
		}
	}
	return nil
}

// metadata answers at the one address that all machines have for it, each with
// what is its own.
type metadata struct {
	mu       sync.Mutex
	handlers map[string]http.Handler // by the machine's address
}

func (m *metadata) set(ip string, h http.Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handlers == nil {
		m.handlers = map[string]http.Handler{}
	}
	m.handlers[ip] = h
}

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	m.mu.Lock()
	h := m.handlers[host]
	m.mu.Unlock()
	if h == nil {
		http.Error(w, "no machine has the address "+host, http.StatusNotFound)
		return
	}
	h.ServeHTTP(w, r)
}
