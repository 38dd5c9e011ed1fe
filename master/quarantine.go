package master

import (
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/latent"
)

// quarantine keeps builds from a worker that is not latent for a while, after one
// has ended in EXCEPTION. It does not outlive the master. A latent worker's is in
// its state.
type quarantine struct {
	until  time.Time     // zero while there is none
	length time.Duration // of the last one; 0 after a build that ended otherwise
	why    string
}

// reason says why the worker takes no builds, "" if it does.
func (q quarantine) reason() string {
	if q.until.IsZero() {
		return ""
	}
	return quarantined(q.until, q.why)
}

func quarantined(until time.Time, why string) string {
	return "it is quarantined until " + until.Format("15:04:05") + ": " + why
}

// quarantinePlain draws from a build's result what Buildbot does: EXCEPTION
// quarantines the worker, any other but RETRY begins the lengths anew.
func (m *Master) quarantinePlain(w *worker, result dormouse.Result, build string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case result == dormouse.Retry, result == dormouse.Exception && !w.quarantine.until.IsZero():
	case result == dormouse.Exception:
		length := latent.NextQuarantine(w.quarantine.length, m.timeScale)
		q := quarantine{until: time.Now().Add(length), length: length, why: build + " on it ended in EXCEPTION"}
		w.quarantine = q
		m.aside.Go(func() { m.endWhenDue(w, q) })
	default:
		w.quarantine.length = 0
	}
}

// endWhenDue ends a quarantine in its time, unless somebody has before.
func (m *Master) endWhenDue(w *worker, q quarantine) {
	select {
	case <-time.After(q.length):
	case <-m.ctx.Done():
		return
	}
	w.mu.Lock()
	due := w.quarantine.until.Equal(q.until)
	if due {
		w.quarantine.until, w.quarantine.why = time.Time{}, ""
	}
	w.mu.Unlock()
	if due {
		m.workerChanged(w)
	}
}

// endQuarantine ends a plain worker's quarantine: somebody has mended what was wrong.
func (w *worker) endQuarantine() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quarantine = quarantine{}
}
