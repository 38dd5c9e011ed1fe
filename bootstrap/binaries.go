package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/listen"
)

// Prefix is the path that [Binaries] is to be served at.
const Prefix = "/worker/"

// platformName is GOOS-GOARCH.
var platformName = regexp.MustCompile(`^[a-z0-9]+-[a-z0-9]+$`)

// Binaries are the programs that machines install, by platform. It is an
// http.Handler for GET and HEAD of /worker/GOOS-GOARCH.
//
// It asks for no password: it serves the published program, the same that
// anyone can download, which holds no secret; and a machine that installs it
// compares it with the checksum in its user data, whoever served it.
type Binaries struct {
	platforms map[string]*binary
}

// binary is a program. The file stays open: what is served is what was
// measured, also when another file has taken its name.
type binary struct {
	file *os.File
	size int64
	sum  string
}

// FindBinaries finds the programs and measures them: the running one for its
// own platform, and the files dormouse-GOOS-GOARCH in dir, which go first. A
// dir that does not exist has none. Close the result in the end.
func FindBinaries(dir string) (_ *Binaries, err error) {
	b := &Binaries{platforms: map[string]*binary{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, dormouse.Errorf(dormouse.Configuration, "read the directory of programs for workers: %w", err)
	}
	for _, entry := range entries {
		platform, ok := strings.CutPrefix(entry.Name(), "dormouse-")
		if !ok || !platformName.MatchString(platform) {
			continue
		}
		if err := b.add(platform, filepath.Join(dir, entry.Name())); err != nil {
			return nil, err
		}
	}
	if own := runtime.GOOS + "-" + runtime.GOARCH; b.platforms[own] == nil {
		path, err := executable()
		if err != nil {
			return nil, dormouse.Errorf(dormouse.Internal, "find the running program: %w", err)
		}
		if err := b.add(own, path); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// executable names the running program, on Linux also when another has taken
// its place since, as in an upgrade.
func executable() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

func (b *Binaries) add(platform, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return dormouse.Errorf(dormouse.Configuration, "open the program for workers on %s: %w", platform, err)
	}
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err == nil && size == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		file.Close()
		return dormouse.Errorf(dormouse.Configuration, "read the program for workers on %s, %s: %w", platform, path, err)
	}
	b.platforms[platform] = &binary{file: file, size: size, sum: hex.EncodeToString(hash.Sum(nil))}
	return nil
}

// Checksums are the programs' SHA-256 in hexadecimal, by platform.
func (b *Binaries) Checksums() map[string]string {
	sums := make(map[string]string, len(b.platforms))
	for platform, program := range b.platforms {
		sums[platform] = program.sum
	}
	return sums
}

// Close closes the files. Nothing may be served any more.
func (b *Binaries) Close() error {
	var errs []error
	for _, program := range b.platforms {
		errs = append(errs, program.file.Close())
	}
	return errors.Join(errs...)
}

// ServeHTTP serves a program. Its ETag is its checksum; parts can be asked for.
func (b *Binaries) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		rw.Header().Set("Allow", "GET, HEAD")
		http.Error(rw, "programs are only fetched", http.StatusMethodNotAllowed)
		return
	}
	program := b.platforms[strings.TrimPrefix(r.URL.Path, Prefix)]
	if program == nil {
		http.Error(rw, fmt.Sprintf("no such program; there are %s", strings.Join(slices.Sorted(maps.Keys(b.platforms)), ", ")), http.StatusNotFound)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	// The same address has another program after the master's upgrade.
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `"`+program.sum+`"`)
	http.ServeContent(listen.Patient(rw), r, "", time.Time{}, io.NewSectionReader(program.file, 0, program.size))
}
