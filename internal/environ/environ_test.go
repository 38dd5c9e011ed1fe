package environ

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInherited(t *testing.T) {
	t.Parallel()
	if !slices.IsSorted(systemd) {
		t.Error("the list is not sorted")
	}
	given := []string{
		"PATH=/bin", "DORMOUSE_TOKEN=t", "DORMOUSE_MASTER=m", "NOTIFY_SOCKET=/run/n", "LANG=C", "NOTIFY_SOCKETS=mine",
		"STATE_DIRECTORY=/var/lib/x", "HOME=/h", "XDG_RUNTIME_DIR=/run/user/1", "MY_DORMOUSE_=1", "CREDENTIALS_DIRECTORY=",
	}
	want := []string{"PATH=/bin", "LANG=C", "NOTIFY_SOCKETS=mine", "HOME=/h", "XDG_RUNTIME_DIR=/run/user/1", "MY_DORMOUSE_=1"}
	if diff := cmp.Diff(want, Inherited(given)); diff != "" {
		t.Error(diff)
	}
}
