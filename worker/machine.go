package worker

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

const (
	// machineFile holds, in the base directory, the token of this machine.
	machineFile = ".machine"
	// maxMachine is more than a token has.
	maxMachine = 256
)

// readMachine reads the token that an earlier process has kept, "" where there is
// none that can be one.
func readMachine(dir string) string {
	f, err := os.Open(filepath.Join(dir, machineFile))
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMachine+1))
	token := strings.TrimSpace(string(text))
	if err != nil || len(token) > maxMachine || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return token
}

// keepMachine keeps a token for the process that comes after this one, also where that
// is after a reset of the machine.
func (w *Worker) keepMachine(token string, log *slog.Logger) {
	if token == "" || token == w.machine {
		return
	}
	if err := writeWhole(filepath.Join(w.cfg.BaseDir, machineFile), token+"\n"); err != nil {
		log.Warn("the machine's token cannot be kept: if the agent is started again, the master takes longer to notice", "err", err)
		return
	}
	w.machine = token
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
