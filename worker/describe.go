package worker

import (
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dormouse-ci/dormouse/worker/command"
)

const (
	// maxInfoFiles and maxInfoSize bound what the info directory can make of
	// the worker's description, which is one frame.
	maxInfoFiles = 100
	maxInfoSize  = 64 << 10
	// osRelease describes the operating system, see os-release(5).
	osRelease = "/etc/os-release"
)

// describe makes the worker's description for the master, with the stock
// worker's keys. What the administrator wrote into files of the info
// directory (admin, host, access_uri, …) is in it under their names.
func describe(cfg *Config) map[string]any {
	info := make(map[string]any)
	dir := filepath.Join(cfg.BaseDir, "info")
	// A missing or unreadable directory describes nothing, which is no error.
	entries, _ := os.ReadDir(dir)
	for _, e := range entries[:min(len(entries), maxInfoFiles)] {
		if text, ok := readText(filepath.Join(dir, e.Name())); ok {
			info[valid(e.Name())] = text
		}
	}
	if text, ok := readText(osRelease); ok {
		for name, value := range parseOSRelease(text) {
			info["os_"+name] = value
		}
	}
	environ := make(map[string]any, len(cfg.Environ))
	for _, e := range cfg.Environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			environ[valid(name)] = valid(value)
		}
	}
	info["environ"] = environ
	info["system"] = "posix"
	info["basedir"] = cfg.BaseDir
	info["numcpus"] = cfg.NumCPUs
	info["version"] = cfg.Version
	info["worker_commands"] = command.Versions()
	info["delete_leftover_dirs"] = false
	return info
}

// readText reads a regular file, or its beginning.
func readText(path string) (string, bool) {
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() {
		return "", false
	}
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxInfoSize))
	return valid(string(data)), err == nil
}

// parseOSRelease reads the lines of an os-release file; names are lowered.
func parseOSRelease(text string) map[string]string {
	out := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") && value != "" {
			out[strings.ToLower(name)] = strings.Trim(value, `"`)
		}
	}
	return out
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
