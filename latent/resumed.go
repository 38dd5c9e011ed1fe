package latent

import "time"

// noticeTime is how long before it takes a spot instance EC2 says so (Amazon EC2
// User Guide, "Spot Instance interruption notices").
const noticeTime = 2 * time.Minute

// resumed is a state that another process stored, as this one takes it up. Its
// deadlines are times of day, of a clock that may have been set since, or may be
// now: none is further away than the policy allows, and from here on they are
// times of this process's clock, which nobody sets.
func (s State) resumed(p Policy, now time.Time) State {
	for _, d := range []struct {
		at   *time.Time
		most time.Duration
	}{
		{&s.RetryAt, p.scaled(retryMax)},
		{&s.MissingAt, p.MissingTimeout},
		{&s.CheckAt, p.CheckInterval},
		{&s.GraceAt, p.Grace},
		{&s.IdleAt, p.BuildWaitTimeout},
		{&s.TakenAt, noticeTime},
		{&s.QuarantinedUntil, p.scaled(QuarantineMax)},
	} {
		if !d.at.IsZero() {
			*d.at = now.Add(min(d.at.Sub(now), max(d.most, 0)))
		}
	}
	return s
}
