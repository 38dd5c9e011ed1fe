package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// MissingWorker is what is known of an instance whose worker never attached.
type MissingWorker struct {
	Title      string // of the installation
	URL        string // where people reach it; "" if that is not known
	Worker     string
	Generation int64
	Reason     string
	Attempts   []dormouse.LaunchAttempt
	Instances  []dormouse.Instance
	Console    string // what the machine printed last
}

// Missing writes the mail about a worker that is missing.
func Missing(m MissingWorker) (subject, text string) {
	subject = fmt.Sprintf("%s: worker %s did not attach", m.Title, m.Worker)
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("The instance of worker %s did not attach, and is given up: %s.", m.Worker, strings.TrimRight(m.Reason, "."))
	line("")
	line("Worker      %s, generation %d", m.Worker, m.Generation)
	for _, a := range m.Attempts {
		line("Launch      %s, asked for %s: %s", a.Offering, when(a.OpenedAt), a.State)
		if a.Error != "" {
			line("            %s", a.Error)
		}
		for _, i := range m.Instances {
			if i.AttemptID == a.ID {
				line("Instance    %s of image %s in %s", i.ID, i.ImageID, i.Region)
				line("            launched %s, running %s, attached %s", when(i.LaunchedAt), when(i.RunningAt), when(i.AttachedAt))
			}
		}
	}
	line("")
	if m.Console == "" {
		line("It has printed nothing on its console yet.")
	} else {
		line("Its console ends with")
		line("")
		for l := range strings.SplitSeq(m.Console, "\n") {
			line("  | %s", strings.TrimRight(l, "\r"))
		}
	}
	line("")
	line("Another instance is started after a while, as long as requests wait for one. What is tried, and what")
	line("comes of it, is told by: dormouse why REQUEST")
	if m.URL != "" {
		line("%s", m.URL)
	}
	return subject, b.String()
}

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
