package machine

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	// tokenFile holds, in the base directory, the token of this machine.
	tokenFile = ".machine"
	// maxToken is more than a token has.
	maxToken = 256
)

// ReadToken reads the token by which the master knows this machine, as an earlier
// process has kept it in the agent's base directory; "" where there is none that can
// be one.
func ReadToken(dir string) string {
	f, err := os.Open(filepath.Join(dir, tokenFile))
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	token := strings.TrimSpace(string(text))
	if err != nil || len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return token
}

// KeepToken keeps the machine's token in the agent's base directory for the process
// that comes after this one, also where that is after a reset of the machine.
func KeepToken(dir, token string) error {
	return writeWhole(filepath.Join(dir, tokenFile), token+"\n")
}

// writeWhole writes a file that only its owner may read. It has its name once it is
// whole and on the disk, and what had the name before is there until then.
func writeWhole(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
