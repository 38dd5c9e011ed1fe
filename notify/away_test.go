package notify

import (
	"strings"
	"testing"
	"time"
)

func TestAway(t *testing.T) {
	t.Parallel()
	w := AwayWorker{Title: "CI", URL: "https://ci.example.org/", Worker: "bot", Since: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Timeout: time.Hour}
	for attached, want := range map[bool][]string{
		true:  {"The connection to worker bot ended at ", "missing_timeout (1h0m0s)", w.URL},
		false: {"Worker bot has not attached since", "missing_timeout is 1h0m0s", w.URL},
	} {
		w.Attached = attached
		subject, text := Away(w)
		if subject != "CI: worker bot is missing" {
			t.Errorf("the subject is %q", subject)
		}
		for _, s := range want {
			if !strings.Contains(text, s) {
				t.Errorf("attached %v: the mail does not say %q:\n%s", attached, s, text)
			}
		}
	}
}
