package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// outcome is what a launch has come to: the instances that it started, and why
// there are no more.
type outcome struct {
	launched []dormouse.CloudInstance
	// why is nil where EC2 has simply answered.
	why error
}

// send sends a launch and stores what came of it. With again, it may have been
// sent before, so that a refusal by whoever did not look at the launch itself
// says nothing about the first time.
func (a *account) send(f *flight, attempts []dormouse.LaunchAttempt, cost *question, again bool) {
	ctx := a.fleet.ctx
	token := attempts[0].Token
	var out outcome
	launched, err := a.cloud.Launch(ctx, attempts[0].Request, token)
	switch {
	case err == nil && len(launched) == 0:
		err = dormouse.Errorf(dormouse.Unanswered, "EC2 accepted the launch and named no instance")
	case err == nil:
		out.launched = distinct(launched)
	default:
		out, err = a.refused(ctx, attempts, again, err)
	}
	if err != nil {
		a.land(f, token, answerAll(attempts, &dormouse.Error{Code: dormouse.Unanswered, Message: "the launch has no answer yet", Err: err}))
		return
	}
	a.settle(f, attempts, out, cost, again)
}

// settle stores what came of a launch, and tells all who have a part in it. An
// instance that the store has as another launch's is given to nobody, and that is the
// answer to those who get none: EC2 starts none twice, so it would be so the next time,
// too.
func (a *account) settle(f *flight, attempts []dormouse.LaunchAttempt, out outcome, cost *question, again bool) {
	token, now := attempts[0].Token, time.Now()
	known := cost.now()
	living, ended := parted(out.launched, a.fleet.serves)
	rows := a.bind(attempts, living, known, now, again)
	short := a.leftOver(attempts[len(rows):], ended, out, now)
	// Before the answer: a process that ends between the two asks for it again.
	over := a.enterEnded(attempts, ended, known, now)
	err := a.fleet.opt.Store.SettleAttempts(a.fleet.ctx, attempts, rows)
	if claimed, ok := errors.AsType[*dormouse.ClaimedError](err); ok {
		a.settle(f, attempts, out.without(claimed, attempts[0].Launch), cost, again)
		return
	}
	if err != nil {
		a.land(f, token, answerAll(attempts, unanswered(attempts[0].Worker, "storing what came of its launch", err)))
		return
	}
	a.fleet.enter(rows)
	a.fleet.settled(attempts[0].Launch)
	a.priceLater(slices.Concat(rows, over), cost)
	answers := answerAll(attempts, short)
	for _, r := range rows {
		answers[generationKey{r.Worker, r.Generation}] = answer{instanceID: r.ID}
	}
	if len(rows) < len(attempts) && passes(short) && !errors.Is(short, errNoneLeft) {
		a.passOver(attempts, short, now)
	}
	a.land(f, token, answers)
}

// answerAll gives all who have a part in a launch the same answer.
func answerAll(attempts []dormouse.LaunchAttempt, err error) map[generationKey]answer {
	answers := make(map[generationKey]answer, len(attempts))
	for _, at := range attempts {
		answers[generationKey{at.Worker, at.Generation}] = answer{err: err}
	}
	return answers
}

// without is the outcome less an instance that another launch has.
func (o outcome) without(claimed *dormouse.ClaimedError, launch string) outcome {
	o.launched, _ = parted(o.launched, func(c dormouse.CloudInstance) bool { return c.ID != claimed.Has.ID })
	o.why = &dormouse.Error{
		Code: dormouse.Internal, Err: claimed,
		Message: fmt.Sprintf("what EC2 says of launch %s does not fit what is stored, which is a fault of Dormouse: please report it", launch),
	}
	return o
}

// passes reports whether a refusal is about what can be passed over for a while,
// and not about what was asked for.
func passes(err error) bool {
	code := dormouse.CodeOf(err)
	return code == dormouse.Capacity || code == dormouse.Quota
}

// errShort is the answer to those for whom a launch of several did not suffice.
var errShort = dormouse.Errorf(dormouse.Capacity, "EC2 had fewer instances than were asked for")

// errNoneLeft is what the answer wraps to those for whom a launch that was carried
// out has no instance that lives. It says nothing about the next one, which may be
// of the same offering.
var errNoneLeft = errors.New("the launch was carried out, and has no instance left that lives")

// serves reports whether an instance of a launch can serve a generation: it has
// not ended, and is not about to.
func (f *Fleet) serves(c dormouse.CloudInstance) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rows[c.ID]
	return !c.State.Dying() && (r == nil || r.StoppingAt.IsZero() && !r.State.Dying())
}

func parted[T any](all []T, is func(T) bool) (those, others []T) {
	for _, each := range all {
		if is(each) {
			those = append(those, each)
		} else {
			others = append(others, each)
		}
	}
	return those, others
}

// bind gives each instance of a launch to one of its generations, those that live
// first, and orders the attempts accordingly. It is from here on that an instance
// belongs to a worker.
func (a *account) bind(attempts []dormouse.LaunchAttempt, launched []dormouse.CloudInstance, cost price, now time.Time, again bool) []dormouse.Instance {
	if len(launched) < len(attempts) {
		live, over := parted(attempts, func(at dormouse.LaunchAttempt) bool { return a.fleet.opt.Live(at.Worker, at.Generation) })
		copy(attempts, slices.Concat(live, over))
	}
	var rows []dormouse.Instance
	for i := range attempts[:min(len(attempts), len(launched))] {
		at := &attempts[i]
		at.State, at.SettledAt, at.Error, at.ErrorCode = dormouse.AttemptAccepted, now, "", ""
		r := a.rowOf(launched[i], *at, cost, now, again)
		r.Generation, r.AttemptID = at.Generation, at.ID
		rows = append(rows, r)
	}
	return rows
}

// rowOf makes the ledger's row of an instance of a launch.
func (a *account) rowOf(c dormouse.CloudInstance, at dormouse.LaunchAttempt, cost price, now time.Time, again bool) dormouse.Instance {
	launchedAt := now
	if again && !c.LaunchTime.IsZero() {
		launchedAt = c.LaunchTime // it has cost money since the first answer was lost
	}
	r := a.fleet.row(c, launchedAt)
	r.Account, r.Region, r.Worker, r.Launch = a.cloud.Key(), a.cloud.Region(), at.Worker, at.Launch
	r.Generation = 0
	r.PricePerHour, r.PriceSource = cost.perHour, cost.source
	return r
}

// leftOver settles the attempts for which a launch has no instance, and returns
// why.
func (a *account) leftOver(attempts []dormouse.LaunchAttempt, ended []dormouse.CloudInstance, out outcome, now time.Time) error {
	why := out.why
	switch {
	case dormouse.CodeOf(why) == dormouse.Internal: // see outcome.without
	case len(ended) > 0 || dormouse.CodeOf(why) == dormouse.Conflict || why != nil && len(out.launched) > 0:
		why = noneLeft(ended, why)
	case why == nil:
		why = errShort
	}
	for i := range attempts {
		refuse(&attempts[i], why, now)
	}
	return why
}

// noneLeft says that a launch was carried out, and why it has no instance (more).
func noneLeft(ended []dormouse.CloudInstance, why error) error {
	var text []string
	for _, c := range ended {
		text = append(text, reasonOf(dormouse.Instance{ID: c.ID, State: c.State, StateReason: c.StateReason}))
	}
	e := &dormouse.Error{Code: dormouse.Capacity, Err: errNoneLeft}
	if why != nil {
		text = append(text, "EC2's answer: "+why.Error())
		e.Remote = remoteOf(why)
	}
	if len(text) > 0 {
		e.Err = fmt.Errorf("%w (%s)", errNoneLeft, strings.Join(text, "; "))
	}
	return e
}

func remoteOf(err error) string {
	if e, ok := errors.AsType[*dormouse.Error](err); ok {
		return e.Remote
	}
	return ""
}

func refuse(a *dormouse.LaunchAttempt, err error, now time.Time) {
	a.State, a.SettledAt, a.Error, a.ErrorCode = dormouse.AttemptRefused, now, err.Error(), remoteOf(err)
}

// enterEnded enters what a launch has started and what has ended, or is ending,
// before a generation could have it: it has cost money, and tells where capacity
// is short. It is no generation's. Also returned is what an earlier try has entered
// whose price was not known then.
func (a *account) enterEnded(attempts []dormouse.LaunchAttempt, ended []dormouse.CloudInstance, cost price, now time.Time) (rows []dormouse.Instance) {
	f := a.fleet
	for i, c := range ended {
		at := attempts[len(attempts)-1-i%len(attempts)] // the last ones got none
		r := a.rowOf(c, at, cost, now, true)
		if takenBack(r) {
			f.rememberShort(r, &at.Offering, now)
		}
		f.wg.Go(func() { a.lastConsole(f.ctx, r.ID, at) })
		stored, err := f.opt.Store.Instance(f.ctx, r.ID)
		if err == nil && stored.PricePerHour == nil && stored.Generation == 0 {
			rows = append(rows, stored)
		}
		if _, known := f.Lookup(r.ID); known || dormouse.CodeOf(err) != dormouse.NotFound {
			continue // it is there, or cannot be looked up: then what is there stays
		}
		if r.State.Ended() {
			r.EndedAt = endOf(c, r, now)
		} else {
			f.mu.Lock()
			f.rows[r.ID] = new(r) // the listing sees its end
			f.mu.Unlock()
			a.hurry()
		}
		f.save(r)
		rows = append(rows, r)
	}
	return rows
}

// endOf is when an instance ended that nobody watched: as EC2 says, where it does.
func endOf(c dormouse.CloudInstance, r dormouse.Instance, now time.Time) time.Time {
	if c.EndTime.IsZero() || c.EndTime.After(now) {
		return now
	}
	if c.EndTime.Before(r.LaunchedAt) {
		return r.LaunchedAt // EC2 tells whole seconds
	}
	return c.EndTime
}

// tokenEnded is how EC2 refuses a token of which an instance has been terminated
// (EC2 Developer Guide, "Error codes for the Amazon EC2 API").
const tokenEnded = "IdempotentInstanceTerminated"

// shownWithin is for how long, from the refusal on, what a launch has started that EC2
// refuses to repeat is looked for where fewer instances are shown than were asked for, or
// than its spot request names. EC2 may not show the others yet, which takes it a second or
// so as a rule; or there were no others. The launch is not sent again meanwhile: with
// capacity by then, that would start others beside them.
const shownWithin = 3 * time.Second

// lookAgain is the pause between two looks.
const lookAgain = time.Second

// refused returns what a launch that EC2 refused has come to, or an error where
// that is not certain yet: an earlier call with the same token may have started
// instances, which are then adopted, and a spot request of it may do so later.
func (a *account) refused(ctx context.Context, attempts []dormouse.LaunchAttempt, again bool, why error) (outcome, error) {
	code := dormouse.CodeOf(why)
	isYoung := young(attempts[0].OpenedAt, time.Now(), a.fleet.scaled(visibleWithin))
	if ctx.Err() != nil || code == dormouse.Unanswered || code == dormouse.Internal {
		return outcome{}, why
	}
	again = again || code == dormouse.Conflict // of a token that it has not seen before, EC2 says no such thing
	if again && isYoung && (code == dormouse.Throttled || code == dormouse.Unavailable) {
		return outcome{}, why // EC2 has not looked at it
	}
	until := time.Now().Add(a.fleet.scaled(shownWithin))
	for {
		out, hidden, err := a.started(ctx, attempts[0], again, isYoung, why)
		if err != nil {
			return outcome{}, lookFailed(why, err)
		}
		late := !time.Now().Before(until)
		if hidden == nil && again {
			hidden = hides(attempts, out, isYoung, late)
		}
		if hidden == nil {
			return out, nil
		}
		if late {
			return outcome{}, fmt.Errorf("%w; %w", why, hidden)
		}
		if pause(ctx, a.fleet.scaled(lookAgain)); ctx.Err() != nil {
			return outcome{}, lookFailed(why, ctx.Err())
		}
	}
}

// started looks for what a refused launch has started: by its token, where it was sent
// before; and by the spot request that it may have left open. Hidden says that it has
// started what EC2 does not show.
func (a *account) started(ctx context.Context, at dormouse.LaunchAttempt, again, isYoung bool, why error) (out outcome, hidden, err error) {
	out.why = why
	if again {
		if out.launched, err = a.cloud.Launched(ctx, at.Token); err != nil {
			return out, nil, err
		}
	}
	if dormouse.CodeOf(why) == dormouse.Capacity && at.Offering.Market == dormouse.Spot {
		bySpot, all, err := a.withdrawn(ctx, at)
		if err != nil {
			return out, nil, err
		}
		if !all && isYoung {
			hidden = errors.New("its spot request has started an instance that EC2 does not show yet")
		}
		out.launched = slices.Concat(out.launched, bySpot)
	}
	out.launched = distinct(out.launched)
	return out, hidden, nil
}

// hides says that EC2 may not show yet all that a launch has started which it refuses
// to repeat; late is that it has been looked for long enough where some of it, or its
// end, is known.
func hides(attempts []dormouse.LaunchAttempt, out outcome, isYoung, late bool) error {
	code := dormouse.CodeOf(out.why)
	// Credentials, or an image that was removed since, may be why it is refused now.
	may := isYoung && code != dormouse.Capacity && code != dormouse.Quota
	switch {
	case len(out.launched) >= len(attempts):
		may = false
	case len(out.launched) > 0, remoteOf(out.why) == tokenEnded:
		may = !late
	}
	if !may {
		return nil
	}
	return fmt.Errorf("EC2 shows %d of %d instances so far", len(out.launched), len(attempts))
}

func lookFailed(why, err error) error {
	return fmt.Errorf("%w; looking for what it started: %w", why, err)
}

// distinct returns each instance once: pages of a listing, and looks by token and by
// id, may show one twice. The last answer counts.
func distinct(instances []dormouse.CloudInstance) (out []dormouse.CloudInstance) {
	for _, c := range instances {
		if i := slices.IndexFunc(out, func(o dormouse.CloudInstance) bool { return o.ID == c.ID }); i >= 0 {
			out[i] = c
		} else {
			out = append(out, c)
		}
	}
	return out
}

// withdrawn cancels the spot requests that a refused launch has left open, and
// returns the instances that they have started, and whether those are all.
func (a *account) withdrawn(ctx context.Context, at dormouse.LaunchAttempt) (started []dormouse.CloudInstance, all bool, err error) {
	ids, err := a.cloud.Withdraw(ctx, at.Launch)
	switch {
	case dormouse.CodeOf(err) == dormouse.Configuration: // a right is missing, which is said with what it is for
		a.fleet.opt.Log.Warn("whether a refused launch has left a spot request open cannot be found out, or not be ended",
			"worker", at.Worker, "launch", at.Launch, "error", err)
	case err != nil:
		return nil, false, err
	}
	if len(ids) == 0 {
		return nil, true, nil
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	started, err = a.cloud.Find(ctx, ids)
	started = distinct(started)
	return started, len(started) == len(ids), err
}
