package master_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/master"
)

// A master that has taken a database over without the directory of artifacts
// says at its start that it has to be shared, and so does a reading; with it,
// nothing is said.
func TestDirectoryOfArtifactsIsMissing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := triggering(t, "true", "true", "")
	m := s.start(text)
	parent := m.force("b", 1)[0]
	if got := m.ended(parent.ID); *got.Result != dormouse.Success {
		t.Fatalf("%+v", got)
	}
	id := m.request(parent.ID).BuildID
	m.stop()
	kept, err := filepath.Glob(filepath.Join(s.dir, "*/artifacts"))
	if here, _ := filepath.Glob(filepath.Join(s.dir, "artifacts")); err != nil || len(kept)+len(here) != 1 {
		t.Fatalf("%q, %q, %v", kept, here, err)
	} else if len(here) > 0 {
		kept = here
	}
	const says = "the latest artifact is not in this master's directory"
	for _, gone := range []bool{false, true} {
		if gone {
			if err := os.Rename(kept[0], kept[0]+".elsewhere"); err != nil {
				t.Fatal(err)
			}
		}
		var log syncBuffer
		m = s.startWith(text, func(o *master.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		if strings.Contains(log.String(), says) != gone {
			t.Errorf("gone %t: %s", gone, log.String())
		}
		_, f, err := m.OpenArtifact(t.Context(), id, "1/answer")
		if gone && (dormouse.CodeOf(err) != dormouse.NotFound || !strings.Contains(err.Error(), "has to share")) || !gone && err != nil {
			t.Errorf("gone %t: %v", gone, err)
		}
		if err == nil {
			f.Close()
		}
		m.stop()
	}
}
