package bootstrap_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk that is full ends the machine at once, with that reason, however the program
// is fetched. Only root can make a disk that is small.
func TestFullDisk(t *testing.T) {
	for _, fetch := range []string{"curl", "wget", "python3"} {
		t.Run(fetch, func(t *testing.T) {
			eachShell(t, func(t *testing.T, m *machine) {
				bin := filepath.Join(m.root, "usr/local/bin")
				m.make("usr/local/bin")
				if err := unix.Mount("tmpfs", bin, "tmpfs", 0, "size=128k"); err != nil {
					t.Logf("no small disk can be made here, so that nothing is tried: %v", err)
					return
				}
				t.Cleanup(func() { _ = unix.Unmount(bin, unix.MNT_DETACH) })
				m.without("curl")
				m.has(fetch)
				s := newSource(t, map[string]string{"dormouse-linux-amd64": program + strings.Repeat("#", 300<<10)})
				code, output := m.boot(render(t, s.options()))
				m.off(code, output, "this machine cannot become a worker: the disk is full")
				if strings.Contains(strings.Join(m.calls(), " "), "sleep") {
					t.Errorf("it waited: %q", m.calls())
				}
			})
		})
	}
}
