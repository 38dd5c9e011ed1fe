package latent

import "time"

// The lengths of a quarantine, as Buildbot has them: the first, doubled by
// each failure in a row, up to the longest.
const (
	QuarantineFirst = 10 * time.Second
	QuarantineMax   = time.Hour
)

// NextQuarantine is how long the quarantine after one of length last is; after
// none (0), the first. The limits are multiplied by scale.
func NextQuarantine(last time.Duration, scale float64) time.Duration {
	p := Policy{TimeScale: scale}
	return min(max(2*last, p.scaled(QuarantineFirst)), p.scaled(QuarantineMax))
}

// quarantine keeps the worker from being started, and from builds, for a while.
func (m *machine) quarantine(why string) {
	m.Quarantine = NextQuarantine(m.Quarantine, m.policy.TimeScale)
	m.QuarantinedUntil, m.QuarantineWhy = m.now.Add(m.Quarantine), why
	m.Blamed = 0
}

// exception quarantines a worker that a build on it has ended in EXCEPTION on,
// unless it is quarantined already: then that one is for the build, too. The build's
// machine may be gone by then.
func (m *machine) exception(e BuildFinished) {
	m.Blamed = 0
	if !m.now.Before(m.QuarantinedUntil) {
		m.quarantine(e.Build + " on it ended in EXCEPTION")
	}
}

// proves notes that a build has come to its end on a generation. Where the generation's
// agent has ended meanwhile, and was blamed for that no build had, it is blamed no more.
func (m *machine) proves(generation int64) {
	if m.Blamed == generation && generation != 0 {
		m.release()
	}
	if m.concerns(generation) {
		m.Quarantine, m.Blamed, m.Fresh = 0, 0, false
	}
}

// release ends a quarantine, and how long the last one was is forgotten.
func (m *machine) release() {
	m.QuarantinedUntil, m.QuarantineWhy, m.Quarantine, m.Blamed = time.Time{}, "", 0, 0
}
