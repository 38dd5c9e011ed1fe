package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A power-off command runs in its directory with what it inherits, but for the
// agent's secrets; its error has what it printed.
func TestPowerOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := []string{"DORMOUSE_INSTANCE_ID=i-1", "DORMOUSE_TOKEN=secret", "DORMOUSE_WORKER_PASSWORD=secret"}
	if err := PowerOff(t.Context(), `echo "$DORMOUSE_INSTANCE_ID$DORMOUSE_TOKEN$DORMOUSE_WORKER_PASSWORD" >off`, dir, environ); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "off")); err != nil || string(text) != "i-1\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := PowerOff(t.Context(), "echo not permitted >&2; exit 3", dir, nil); err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Error(err)
	}
}
