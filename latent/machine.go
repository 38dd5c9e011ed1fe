package latent

import (
	"fmt"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// The pauses between attempts of the same thing: a start that EC2 may grant in
// a moment, a stop that failed. Short at first, since the cause is mostly one
// call; long enough later that 300 workers do not drown a sick API.
const (
	retryFirst = 2 * time.Second
	retryMax   = 2 * time.Minute
)

// Step applies one event at one moment, and returns the new state with what
// must be done about it. It is pure and total: any event is safe in any state.
// The new state, and the Open and Close records among the actions, are to be
// durable before any other action is performed.
func Step(p Policy, s State, now time.Time, e Event) (State, []Action) {
	if s.Phase == "" {
		s.Phase, s.Since = NotSubstantiated, now
	}
	m := machine{policy: p, State: s, now: now}
	m.apply(e)
	m.settle()
	return m.State, m.actions
}

type machine struct {
	State
	policy  Policy
	now     time.Time
	actions []Action
}

func (m *machine) do(a Action) { m.actions = append(m.actions, a) }

func (m *machine) enter(p Phase) {
	if m.Phase != p {
		m.Phase, m.Since = p, m.now
	}
}

// apply writes the event's facts into the state. What follows from them is
// settle's, but for what only the event can tell.
func (m *machine) apply(e Event) {
	if g, ok := e.(generational); ok && !m.concerns(g.generation()) {
		m.applyLate(e)
		return
	}
	switch e := e.(type) {
	case Tick:
	case Demand:
		m.Wanted = e.Wanted
	case Pause:
		m.Paused = e.On
		if !e.On {
			m.release() // as in Buildbot
		}
	case Retry:
		m.release()
		if m.RetryAt.After(m.now) {
			m.RetryAt = m.now
		}
	case Graceful:
		m.Graceful = e.On
		if !e.On && m.Phase == ShutDown && !m.Closing {
			m.enter(NotSubstantiated)
		}
	case ShutDownNow:
		m.Graceful = true
		m.stop("shut down by request", false)
	case MasterStops:
		m.Closing = true
	case Resumed:
		m.resume(e.Builds)
	case StartAccepted:
		m.launched(e.InstanceID)
	case StartFailed:
		m.startFailed(e)
	case Attached:
		m.attached()
	case Detached:
		m.detached()
	case AgentGone:
		m.agentGone(e)
	case BootSays:
		m.bootSays(e)
	case Checked:
		m.checked(e)
	case PrepareDone:
		m.Prepared, m.Preparing = true, false
	case PrepareFailed:
		m.prepareFailed(e)
	case BuildStarted:
		if m.Ready() {
			m.Builds++
		}
	case BuildFinished:
		m.buildFinished(e)
	case BuildWithdrawn:
		m.Builds = max(m.Builds-1, 0)
	case Interruption:
		m.interruption(e.At)
	case Freed:
		if m.Phase == Substantiating && m.Awaits {
			m.RetryAt = m.now
		}
	case Told:
		if m.Untold == e.Generation {
			m.Untold, m.UntoldWhy = 0, ""
		}
	case StopAccepted:
		m.stopAccepted()
	case StopFailed:
		m.stopFailed(e.Reason)
	case Ended:
		m.Died = true
		m.instanceDied(orElse(e.Reason, "the instance ended by itself"))
	}
}

// applyLate applies what an event of an earlier generation still says.
func (m *machine) applyLate(e Event) {
	switch e := e.(type) {
	case Ended:
		if e.Generation == m.Held {
			m.Held = 0
		}
	case BuildFinished:
		m.result(e)
	}
}

// concerns reports whether an event that carries a generation is about the
// one that is open.
func (m *machine) concerns(generation int64) bool {
	return m.Open && generation == m.Generation
}

func (m *machine) launched(instanceID string) {
	m.StartInFlight, m.Launched = false, true
	m.InstanceID = instanceID
	m.Tries = 0
	if m.Live() {
		m.RetryAt = time.Time{}
	}
	if m.Phase == Substantiating {
		// The answer came after the start had been given up for now.
		m.enter(Starting)
	}
	if m.Phase == Starting && m.MissingAt.IsZero() {
		m.MissingAt = m.now.Add(m.policy.MissingTimeout)
		m.CheckAt = m.nextCheck()
		m.Reason = "instance " + instanceID + " is booting"
	}
}

func (m *machine) startFailed(e StartFailed) {
	m.StartInFlight = false
	if m.Phase == Substantiated && e.Transient && !m.Launched {
		m.Tries++ // its worker is there: what is missing is EC2's answer
		m.RetryAt = m.now.Add(m.policy.scaled(pause(m.Tries)))
		return
	}
	if m.Phase != Starting || m.Launched {
		return // it is being stopped, and the stop settles what the start may have left
	}
	if e.Transient {
		m.Tries++
		m.clearDeadlines()
		m.Awaits = e.Awaits
		m.RetryAt = m.now.Add(m.policy.scaled(pause(m.Tries)))
		if e.Again.After(m.now) {
			m.RetryAt = m.here(e.Again)
		}
		m.Retiring = false
		m.Reason = fmt.Sprintf("%s; trying again at %s", e.Reason, clock(m.RetryAt))
		m.enter(Substantiating)
		return
	}
	if m.Connected { // against the refusal, an instance is there: end it
		m.fail(e.Reason, false)
		return
	}
	// A definite refusal: nothing was started, so there is nothing to stop.
	m.quarantine(e.Reason)
	m.close(e.Reason)
}

func (m *machine) attached() {
	if !m.Live() {
		return
	}
	m.Connected = true
	m.GraceAt = time.Time{}
	if m.AttachedAt.IsZero() {
		m.AttachedAt = m.now
	}
	if m.Phase == Substantiating {
		// A start whose answer was lost has worked after all.
		m.RetryAt = time.Time{}
		m.CheckAt = m.nextCheck()
		m.MissingAt = m.now.Add(m.policy.MissingTimeout)
		m.enter(Starting)
		m.order() // the answer is still wanted: it says what the instance is
	}
	m.do(Check{Generation: m.Generation}) // notes when it was first seen running
}

func (m *machine) detached() {
	if !m.Connected {
		return
	}
	m.Connected = false
	if m.Phase == Substantiated {
		m.GraceAt = m.now.Add(m.policy.Grace)
		m.CheckAt = m.now
		m.Reason = "its connection dropped; waiting until " + clock(m.GraceAt) + " for it to come back"
	}
}

// agentGone ends a generation on which no build can run any more. One that EC2 has
// announced to take is left to it. Where no build has come to its end, it is a failure,
// with its pause, whether the agent says itself that it ends or another proves it: an
// image whose agent never lasts would have machine after machine started.
func (m *machine) agentGone(e AgentGone) {
	switch {
	case !m.TakenAt.IsZero():
	case !m.Fresh, m.Retiring: // of one that EC2 recommends to leave, the end is no surprise
		m.stop(e.Reason, false)
	case m.Live():
		m.fail(e.Reason, false)
		m.Blamed = m.Generation
	}
}

// bootSays shows what keeps a machine, and ends one that waiting does not help.
func (m *machine) bootSays(e BootSays) {
	switch {
	case m.Phase != Starting || !m.AttachedAt.IsZero():
	case e.GaveUp:
		m.fail(fmt.Sprintf("instance %s cannot become a worker: %s", m.InstanceID, e.Text), true)
	default:
		m.Reason = fmt.Sprintf("instance %s is booting; its console says: %s", m.InstanceID, e.Text)
	}
}

func (m *machine) checked(e Checked) {
	switch {
	case !m.Live():
	case e.State.Dying() || e.State == dormouse.InstanceStopping || e.State == dormouse.InstanceStopped:
		m.instanceDied(fmt.Sprintf("instance %s is %s: %s", m.InstanceID, e.State, orElse(e.Reason, "EC2 gives no reason")))
	case e.State == dormouse.InstanceRunning && m.policy.Prepares && !m.Prepared && !m.Preparing:
		m.Preparing = true
		m.do(Prepare{Generation: m.Generation})
	}
}

// instanceDied ends a generation whose instance is no more. While it starts,
// that is a failure to start.
func (m *machine) instanceDied(reason string) {
	switch m.Phase {
	case Starting, Substantiating:
		m.fail(reason, true)
	case Substantiated:
		m.stop(reason, false)
	}
}

// prepareFailed gives a machine up that cannot be prepared. For what passes it
// is prepared again after the next check; missing_timeout is the backstop.
func (m *machine) prepareFailed(e PrepareFailed) {
	m.Preparing = false
	switch {
	case !m.Live():
		return // it is being stopped
	case !e.Transient:
		m.fail(e.Reason, false)
		return
	}
	m.CheckAt = m.nextCheck()
	m.Reason = e.Reason + "; trying again at " + clock(m.CheckAt)
}

func (m *machine) buildFinished(e BuildFinished) {
	if m.Builds == 0 {
		return
	}
	m.Builds--
	m.result(e)
	if m.Builds == 0 && m.policy.BuildWaitTimeout == 0 && m.Phase == Substantiated {
		m.stop("the build ended and build_wait_timeout is 0", false)
	}
}

// result draws what a build's result says of its worker.
func (m *machine) result(e BuildFinished) {
	switch e.Result {
	case dormouse.Retry:
	case dormouse.Exception:
		m.exception(e)
	default:
		m.proves(e.Generation)
	}
}

func (m *machine) interruption(at time.Time) {
	if m.Phase != Starting && m.Phase != Substantiated {
		return
	}
	m.Retiring = true
	switch {
	case !at.IsZero():
		m.TakenAt = m.here(at)
		m.Reason = "EC2 takes the instance back at " + clock(at)
	case m.TakenAt.IsZero():
		m.Reason = "EC2 recommends to leave the instance: it may be taken back soon"
	}
}

func (m *machine) stopAccepted() {
	if m.Phase != Insubstantiating && m.Phase != InsubstantiatingSubstantiating {
		return
	}
	if m.policy.Exclusive && !m.Died {
		m.Held = m.Generation
	}
	m.close(m.Reason)
}

func (m *machine) stopFailed(reason string) {
	if !m.StopInFlight {
		return
	}
	m.StopInFlight = false
	m.Tries++
	m.RetryAt = m.now.Add(m.policy.scaled(pause(m.Tries)))
	m.Reason = fmt.Sprintf("could not be stopped: %s; trying again at %s", reason, clock(m.RetryAt))
}

// resume takes up a state that an earlier process left. What it had started counts
// as wanted until this one has found out what waits. Connections died with
// it, and builds, but for those that go on; whatever it had in flight is ordered
// again, which the provider makes harmless.
func (m *machine) resume(builds int) {
	m.Connected, m.Builds, m.Wanted = false, 0, m.Live()
	if m.Live() {
		m.Builds = builds
	}
	m.Closing = false
	m.Preparing = false
	m.release() // whoever starts a master may have mended what was wrong
	if m.Phase == ShutDown && !m.Graceful {
		m.enter(NotSubstantiated)
	}
	if m.Untold != 0 {
		m.do(NotifyMissing{Generation: m.Untold, Reason: m.UntoldWhy})
	}
	if !m.Open {
		return
	}
	if m.Live() && m.StartInFlight { // its worker may have attached before the answer came
		m.do(Start{Generation: m.Generation})
	}
	switch m.Phase {
	case Starting:
		if !m.StartInFlight {
			m.CheckAt = m.now
		}
		m.State = m.postponed(m.now.Add(m.policy.Grace)) // nobody could attach while the master was away
	case Substantiated:
		m.GraceAt = m.now.Add(m.policy.Grace)
		m.CheckAt = m.now
		m.IdleAt = time.Time{}
		m.Reason = "the master was restarted; waiting until " + clock(m.GraceAt) + " for the worker to come back"
	case Insubstantiating, InsubstantiatingSubstantiating:
		m.StopInFlight = false
		m.RetryAt = m.now
	}
}

// settle draws the conclusions that hold whatever the event was, until there
// are no more.
func (m *machine) settle() {
	if passed(m.QuarantinedUntil, m.now) {
		m.QuarantinedUntil, m.QuarantineWhy = time.Time{}, ""
	}
	// Each round moves forward along start → attach → stop → closed, so that
	// eight cover the longest chain; the bound only guards against a mistake.
	for range 8 {
		before := m.Phase
		switch m.Phase {
		case NotSubstantiated:
			m.settleNotSubstantiated()
		case Substantiating:
			m.settleSubstantiating()
		case Starting:
			m.settleStarting()
		case Substantiated:
			m.settleSubstantiated()
		case Insubstantiating, InsubstantiatingSubstantiating:
			m.settleInsubstantiating()
		}
		if m.Phase == before {
			return
		}
	}
}

func (m *machine) ending() bool { return m.Closing || m.Graceful }

func (m *machine) settleNotSubstantiated() {
	switch {
	case m.ending():
		m.enter(ShutDown)
	case m.Wanted && !m.Paused && m.QuarantinedUntil.IsZero():
		m.Generation++
		m.Open, m.OpenedAt, m.AttachedAt = true, m.now, time.Time{}
		m.Prepared, m.Fresh = !m.policy.Prepares, true
		m.do(Open{Generation: m.Generation})
		m.enter(Substantiating)
	}
}

func (m *machine) settleSubstantiating() {
	switch {
	case m.ending():
		m.stop("shut down before it was started", false)
	case m.idle():
		m.stop("no request waits for it any more", false)
	case m.Held != 0:
		m.Reason = fmt.Sprintf("waiting for generation %d to give up its volumes and address", m.Held)
	case !m.now.Before(m.RetryAt):
		m.order()
		m.Reason = "an instance is being requested"
		m.enter(Starting)
	}
}

// order orders the start, for the first time or again.
func (m *machine) order() {
	m.RetryAt = time.Time{}
	m.StartInFlight, m.Awaits = true, false
	m.do(Start{Generation: m.Generation})
}

func (m *machine) settleStarting() {
	switch {
	case m.ending():
		m.stop("shut down while it was starting", false)
	case m.Connected && m.Prepared:
		m.MissingAt, m.CheckAt = time.Time{}, time.Time{}
		m.Reason = ""
		m.enter(Substantiated)
	case passed(m.TakenAt, m.now):
		m.stop(m.Reason, false)
	case passed(m.MissingAt, m.now):
		reason := fmt.Sprintf("instance %s did not attach within missing_timeout (%s)", m.InstanceID, m.policy.MissingTimeout)
		if m.Connected {
			reason = fmt.Sprintf("instance %s was not made ready within missing_timeout (%s)", m.InstanceID, m.policy.MissingTimeout)
		}
		m.Untold, m.UntoldWhy = m.Generation, reason
		m.do(NotifyMissing{Generation: m.Generation, Reason: reason})
		m.fail(reason, true)
	case m.idle():
		m.stop("no request waits for it any more", false)
	default:
		m.check()
	}
}

func (m *machine) settleSubstantiated() {
	if m.Connected && m.Prepared && !m.Retiring {
		m.Reason = ""
	}
	if !m.Launched && !m.StartInFlight && passed(m.RetryAt, m.now) {
		m.order()
	}
	switch {
	case m.Closing:
		m.stop("the master stops", false)
	case m.Builds == 0 && m.Graceful:
		m.stop("shut down by request", false)
	case passed(m.TakenAt, m.now), m.Retiring && m.Builds == 0:
		m.stop(m.Reason, false)
	case !m.Connected && passed(m.GraceAt, m.now):
		m.stop("its connection dropped and it did not come back", false)
	case m.idle():
		m.stop("idle", false)
	case !m.Connected:
		m.check()
	default:
		m.CheckAt = time.Time{}
	}
}

func (m *machine) settleInsubstantiating() {
	if !m.StopInFlight && !m.now.Before(m.RetryAt) {
		m.RetryAt = time.Time{}
		m.StopInFlight = true
		m.do(Stop{Generation: m.Generation, Console: m.Console, Reason: m.Reason})
	}
	if m.Wanted && !m.Paused && !m.ending() {
		m.enter(InsubstantiatingSubstantiating)
	} else {
		m.enter(Insubstantiating)
	}
}

// idle keeps the idle timer, and reports whether it has run out. A worker is
// idle when it has no build and no request waits for it, whether it has
// attached or not; the time counts from when that began.
func (m *machine) idle() bool {
	if m.Builds > 0 || m.Wanted || m.policy.BuildWaitTimeout < 0 {
		m.IdleAt = time.Time{}
		return false
	}
	if m.IdleAt.IsZero() {
		m.IdleAt = m.now.Add(m.policy.BuildWaitTimeout)
	}
	return passed(m.IdleAt, m.now)
}

// check looks at the instance when it is time to.
func (m *machine) check() {
	if passed(m.CheckAt, m.now) {
		m.do(Check{Generation: m.Generation})
		m.CheckAt = m.nextCheck()
	}
}

// nextCheck falls on a multiple of the interval, so that all workers who wait
// ask at the same moments and one listing of the cloud answers them all.
func (m *machine) nextCheck() time.Time {
	return m.here(m.now.Truncate(m.policy.CheckInterval).Add(m.policy.CheckInterval))
}

// here is a time of day as this process's clock has it, which goes on as it is
// when the time of day is set: deadlines of both kinds cannot be compared.
func (m *machine) here(at time.Time) time.Time { return m.now.Add(at.Sub(m.now)) }

// fail ends a generation that could not be brought up, or was of no use. One that is
// being ended already has not failed: its agent ends with its machine.
func (m *machine) fail(reason string, console bool) {
	if !m.Live() {
		return
	}
	m.quarantine(reason)
	m.stop(reason, console)
}

// stop begins to end the open generation; without one there is nothing to end.
func (m *machine) stop(reason string, console bool) {
	if !m.Live() {
		return
	}
	m.clearDeadlines()
	m.Console = console
	m.Reason = reason
	m.Tries = 0
	m.StopInFlight = false
	if m.Connected {
		m.do(Disconnect{Generation: m.Generation, Reason: reason})
	}
	m.enter(Insubstantiating)
}

// close ends the generation's record: no instance of it is in use, or will be.
func (m *machine) close(reason string) {
	m.do(Close{Generation: m.Generation, Reason: reason})
	m.clearDeadlines()
	m.Open, m.Launched, m.StartInFlight, m.StopInFlight = false, false, false, false
	m.Prepared, m.Preparing, m.Retiring, m.Fresh, m.Console, m.Died = false, false, false, false, false, false
	m.Connected, m.Builds, m.InstanceID, m.Tries = false, 0, "", 0
	m.Reason = ""
	m.enter(NotSubstantiated)
}

func (m *machine) clearDeadlines() {
	m.RetryAt, m.MissingAt, m.CheckAt = time.Time{}, time.Time{}, time.Time{}
	m.GraceAt, m.IdleAt, m.TakenAt = time.Time{}, time.Time{}, time.Time{}
}

// pause is the back-off before attempt tries+1, doubling.
func pause(tries int) time.Duration {
	d := retryFirst
	for range min(tries, 16) - 1 {
		d = min(2*d, retryMax)
	}
	return d
}

func passed(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func clock(t time.Time) string { return t.Format("15:04:05") }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
