package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// visibleWithin is how long EC2 may take to show an instance that it has
// accepted. Until then an id that it does not know is unknown, not dead. The
// EC2 developer guide ("Eventual consistency") has callers retry for up to five
// minutes.
const visibleWithin = 5 * time.Minute

// PriceOf returns an offering's price per hour in US dollars and where it was
// learned, or nil when it is not known, with an error where that is why. A launch
// that a budget has to admit waits for it, so it ends within seconds and remembers,
// also that there was no answer.
type PriceOf func(context.Context, dormouse.Offering) (perHour *float64, source string, err error)

// Errands are what has to be done for an instance besides starting and ending
// it: volumes, an address. Any of them may be nil.
type Errands struct {
	// Ready returns a Busy error while what an instance needs is held by
	// something else, such as the one before it.
	Ready func(context.Context) error
	// Prepare gives it to a running instance.
	Prepare func(ctx context.Context, instanceID string) error
	// Release takes back what EC2 does not free by itself, before the instance
	// is ended. That it fails never keeps an instance alive.
	Release func(ctx context.Context, instanceID string) error
}

// releaseTime bounds Errands.Release: the instance costs money meanwhile.
const releaseTime = 10 * time.Second

// consoleTime bounds the reading of the console output before an instance is
// ended, for the same reason.
const consoleTime = 20 * time.Second

// Member is one latent worker's part of the fleet: what it may be started as,
// and its starts and stops.
type Member struct {
	Fleet  *Fleet
	Worker string
	Cloud  Cloud
	// Offerings returns what may be launched, the preferred first. It may ask
	// EC2, where a volume's zone decides.
	Offerings func(context.Context) ([]dormouse.Offering, error)
	// Batch names what the member's launches look like: members of an account
	// with the same one can share a launch. Empty: each is launched alone,
	// because the request has to tell it apart.
	Batch string
	// Render makes a launch request. It may call EC2 (to choose an image, to
	// make a keypair), but starts nothing.
	Render func(context.Context, dormouse.Offering, Launch) ([]byte, error)
	Price  PriceOf
	Errands
}

// Start brings up an instance for a generation, going on where an earlier call
// or process was. See latent.Provider.
func (m *Member) Start(ctx context.Context, generation int64) (string, error) {
	attempts, err := m.Fleet.opt.Store.Attempts(ctx, m.Worker, generation)
	if err != nil {
		return "", unanswered(m.Worker, "reading its launch attempts", err)
	}
	account := m.Fleet.account(m.Cloud)
	if n := len(attempts); n > 0 {
		switch last := attempts[n-1]; last.State {
		case dormouse.AttemptAccepted:
			return m.accepted(ctx, generation, last)
		case dormouse.AttemptOpen:
			id, err := m.again(ctx, last)
			switch {
			case errors.Is(err, errSettled):
				return m.Start(ctx, generation)
			case !passes(err):
				return id, err
			}
		case dormouse.AttemptRefused:
			m.Fleet.settled(last.Launch) // nobody may have heard that it is
		}
	}
	if m.Ready != nil {
		if err := m.Ready(ctx); err != nil {
			return "", err
		}
	}
	offerings, err := m.Offerings(ctx)
	if err != nil {
		return "", err
	}
	m.Fleet.offered(m.Worker, offerings)
	var tooDear error // what the budget says of the first offering that does not fit into it
	for launches := 1; ; launches++ {
		offering, next, ok := m.choose(offerings)
		switch {
		case !ok && tooDear != nil:
			return "", tooDear
		case !ok:
			return "", m.noneLeft(offerings, next)
		}
		id, err := account.join(ctx, m, offering, generation)
		switch code := dormouse.CodeOf(err); {
		case errors.Is(err, errNoneLeft) && launches > 1:
			return "", err // not again and again without a pause
		case code == dormouse.Capacity, code == dormouse.Quota: // it is remembered
		case code == dormouse.Budget:
			tooDear = cmp.Or(tooDear, err)
			offerings = slices.DeleteFunc(slices.Clone(offerings), func(o dormouse.Offering) bool { return o == offering })
		default:
			return id, err
		}
	}
}

// again asks for the answer to an attempt, where it was sent: elsewhere the same
// bytes would start something else.
func (m *Member) again(ctx context.Context, attempt dormouse.LaunchAttempt) (string, error) {
	m.Fleet.mu.Lock()
	account := m.Fleet.accounts[attempt.Account]
	m.Fleet.mu.Unlock()
	if account == nil {
		if attempt.Region != m.Cloud.Region() {
			return "", dormouse.Errorf(dormouse.Unanswered,
				"the launch of %s for generation %d of worker %s has no answer yet, and may have started an instance in account %s, region %s, whose session has left the configuration: put it back",
				attempt.OpenedAt.Format(time.DateTime), attempt.Generation, m.Worker, attempt.Account, attempt.Region)
		}
		account = m.Fleet.account(m.Cloud) // by other credentials: a key was rotated
	}
	return account.again(ctx, attempt, m.Price)
}

func (m *Member) choose(offerings []dormouse.Offering) (dormouse.Offering, time.Time, bool) {
	m.Fleet.mu.Lock()
	defer m.Fleet.mu.Unlock()
	return m.Fleet.short.choose(m.Cloud.Key(), m.Worker, offerings, time.Now())
}

// noneLeft says why none of the offerings can be had before a moment. It is a want
// of quota where more room in one may end the wait.
func (m *Member) noneLeft(offerings []dormouse.Offering, again time.Time) error {
	code, text := dormouse.Capacity, make([]string, 0, len(offerings))
	for _, p := range m.passedOver(offerings) {
		if dormouse.CodeOf(p.Why) == dormouse.Quota {
			code = dormouse.Quota
		}
		text = append(text, p.String())
	}
	err := dormouse.Errorf(code, "nothing that worker %s may be started as can be had until at least %s (%s); more instance types or zones to choose from may help",
		m.Worker, again.Format("15:04:05"), strings.Join(text, "; "))
	err.Again = again
	if m.Batch == "" {
		err.Again = again.Add(rand.N(m.Fleet.apart()))
	}
	return err
}

// apart is over how long those who launch alone ask again for what was short, where
// all of them would at once: EC2 admits two launches a second (see limits of package
// ec2), and one that is refused tells the others.
func (f *Fleet) apart() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.scaled(time.Second / 2 * time.Duration(1+min(len(f.chosenFrom), 100)))
}

func (m *Member) passedOver(offerings []dormouse.Offering) []PassedOver {
	m.Fleet.mu.Lock()
	defer m.Fleet.mu.Unlock()
	return m.Fleet.short.passedOver(m.Cloud.Key(), m.Worker, offerings, time.Now())
}

// PassedOver returns what the worker's launches pass over for a while, of the
// offerings that it had to choose from last.
func (m *Member) PassedOver() []PassedOver {
	m.Fleet.mu.Lock()
	offerings := m.Fleet.chosenFrom[m.Worker]
	m.Fleet.mu.Unlock()
	return m.passedOver(offerings)
}

// accepted returns the instance of an attempt that was accepted, also one that
// this process has not in its memory: the store took it down and could not say
// so, or the generation's end was not stored before the last process ended.
func (m *Member) accepted(ctx context.Context, generation int64, last dormouse.LaunchAttempt) (string, error) {
	if rows := m.Fleet.instancesOf(m.Worker, generation); len(rows) > 0 {
		return rows[0].ID, nil
	}
	if err := m.Fleet.learn(ctx, last); err != nil {
		return "", unanswered(m.Worker, "reading its instance", err)
	}
	if rows := m.Fleet.instancesOf(m.Worker, generation); len(rows) > 0 {
		return rows[0].ID, nil
	}
	return "", dormouse.Errorf(dormouse.NotFound, "the instance of generation %d of worker %s has ended already", generation, m.Worker)
}

// learn enters what the store has of an accepted launch, for all generations that
// have a part in it, where the memory lacks it.
func (f *Fleet) learn(ctx context.Context, accepted dormouse.LaunchAttempt) error {
	attempts, err := f.opt.Store.LaunchAttempts(ctx, accepted.Token)
	if err != nil {
		return err
	}
	for _, a := range attempts {
		stored, err := f.opt.Store.InstancesOf(ctx, a.Worker, a.Generation)
		if err != nil {
			return err
		}
		for _, r := range stored {
			if _, known := f.Lookup(r.ID); !known && r.EndedAt.IsZero() && !f.knowsEnd(r.ID) {
				f.enter([]dormouse.Instance{r})
			}
		}
	}
	f.settled(accepted.Launch)
	return nil
}

// instanceOf returns the instance an accepted attempt of the generation has.
func (m *Member) instanceOf(generation int64) (string, error) {
	if rows := m.Fleet.instancesOf(m.Worker, generation); len(rows) > 0 {
		return rows[0].ID, nil
	}
	return "", dormouse.Errorf(dormouse.Capacity, "the instance of generation %d of worker %s has ended already", generation, m.Worker)
}

// Prepare gives the generation's instance what it needs before it may build.
// See latent.Provider.
func (m *Member) Prepare(ctx context.Context, generation int64) error {
	if m.Errands.Prepare == nil {
		return nil
	}
	id, err := m.instanceOf(generation)
	if err != nil {
		return err
	}
	return m.Errands.Prepare(ctx, id)
}

// release runs the errand that comes before the end.
func (m *Member) release(ctx context.Context, rows []dormouse.Instance) {
	if m.Release == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	for _, r := range rows {
		if err := m.Release(ctx, r.ID); err != nil { // it is ended all the same
			m.Fleet.refused(chore{choreRelease, r.ID}, m.Worker, m.Cloud.Key(), err)
			continue
		}
		m.Fleet.done(chore{choreRelease, r.ID})
	}
}

// Check returns what EC2 says of the generation's instance.
func (m *Member) Check(ctx context.Context, generation int64) (dormouse.InstanceState, string, error) {
	if err := m.Fleet.account(m.Cloud).refresh(ctx); err != nil {
		return "", "", err
	}
	rows := m.Fleet.instancesOf(m.Worker, generation)
	if len(rows) == 0 {
		attempts, err := m.Fleet.opt.Store.Attempts(ctx, m.Worker, generation)
		if err != nil {
			return "", "", err
		}
		n := len(attempts)
		if n == 0 || attempts[n-1].State != dormouse.AttemptAccepted || m.Fleet.Awaits(attempts[n-1].Launch) {
			return dormouse.InstancePending, "", nil // the start has not returned
		}
		// The answer may have come into the ledger between the two readings.
		if rows = m.Fleet.instancesOf(m.Worker, generation); len(rows) == 0 {
			return dormouse.InstanceGone, "it has ended", nil
		}
	}
	return rows[0].State, rows[0].StateReason, nil
}

// Stop ends whatever the generation has or may have. See latent.Provider.
func (m *Member) Stop(ctx context.Context, number int64, console bool) error {
	if err := m.settle(ctx, number); err != nil {
		if ctx.Err() == nil {
			m.Fleet.refused(chore{choreSettle, generation(m.Worker, number)}, m.Worker, m.Cloud.Key(), err)
		}
		return err
	}
	m.Fleet.done(chore{choreSettle, generation(m.Worker, number)})
	rows := m.Fleet.instancesOf(m.Worker, number)
	if console {
		m.keepConsole(ctx, rows)
	}
	m.release(ctx, rows)
	var failed []error
	for _, r := range rows {
		if !r.StoppingAt.IsZero() || r.State.Dying() {
			continue
		}
		if _, left := m.Fleet.LeftToEC2(r.ID, ""); left {
			continue
		}
		of := m.Fleet.accountOf(r)
		if of == nil {
			err := dormouse.Errorf(dormouse.Configuration, "instance %s lives in account %s, whose session has left the configuration: put it back, or terminate the instance by hand", r.ID, r.Account)
			m.Fleet.refused(chore{choreTerminate, r.ID}, r.Worker, r.Account, err)
			failed = append(failed, err)
			continue
		}
		if err := of.terminate(ctx, r); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return inOneLine(failed)
	}
	if len(rows) == 0 {
		m.Fleet.opt.Ended(m.Worker, number, "")
	}
	return nil
}

// inOneLine is errors.Join for a text that is shown within a line.
func inOneLine(errs []error) error {
	joined := errs[0]
	for _, err := range errs[1:] {
		joined = fmt.Errorf("%w; %w", joined, err)
	}
	return joined
}

// settle finds out what a generation has started.
func (m *Member) settle(ctx context.Context, generation int64) error {
	attempts, err := m.Fleet.opt.Store.Attempts(ctx, m.Worker, generation)
	if err != nil {
		return fmt.Errorf("reading its launch attempts: %w", err)
	}
	for _, a := range attempts {
		switch a.State {
		case dormouse.AttemptOpen:
			_, err := m.again(ctx, a)
			if errors.Is(err, errSettled) {
				return m.settle(ctx, generation)
			}
			if code := dormouse.CodeOf(err); code == dormouse.Unanswered || ctx.Err() != nil {
				return fmt.Errorf("it may have started an instance: %w", err)
			}
		case dormouse.AttemptAccepted:
			// Only the store may know its instance, whose answer was lost.
			if _, err := m.accepted(ctx, generation, a); err != nil && dormouse.CodeOf(err) != dormouse.NotFound {
				return err
			}
		case dormouse.AttemptRefused:
			m.Fleet.settled(a.Launch)
		}
	}
	return nil
}

// keepConsole keeps what the machines printed with their attempts. Failing to
// is no reason to let a machine run.
func (m *Member) keepConsole(ctx context.Context, rows []dormouse.Instance) {
	ctx, cancel := context.WithTimeout(ctx, consoleTime)
	defer cancel()
	for _, r := range rows {
		of := m.Fleet.accountOf(r)
		if of == nil {
			continue
		}
		text, err := of.cloud.Console(ctx, r.ID)
		if err != nil {
			m.Fleet.opt.Log.Warn("the console output could not be read", "worker", m.Worker, "instance", r.ID, "error", err)
			continue
		}
		if text == "" {
			continue
		}
		if err := m.Fleet.opt.Store.SetAttemptConsole(ctx, r.AttemptID, text); err != nil {
			m.Fleet.opt.Log.Warn("the console output could not be stored", "worker", m.Worker, "instance", r.ID, "error", err)
		}
	}
}

// lastConsole keeps what a machine that never attached has printed to its end:
// EC2 has the console's output once more when an instance stops, and then more of
// it.
func (a *account) lastConsole(ctx context.Context, instance string, of dormouse.LaunchAttempt) {
	text, err := a.cloud.Console(ctx, instance)
	if err != nil || text == "" {
		return // what was kept before is all there is
	}
	attempts, err := a.fleet.opt.Store.Attempts(ctx, of.Worker, of.Generation)
	for _, at := range attempts {
		if at.ID == of.ID && len(at.Console) < len(text) {
			err = a.fleet.opt.Store.SetAttemptConsole(ctx, at.ID, text)
		}
	}
	if err != nil && ctx.Err() == nil {
		a.fleet.opt.Log.Warn("the console output could not be stored", "worker", of.Worker, "instance", instance, "error", err)
	}
}

// accountOf returns the account that an instance lives in, nil when it is not
// known here.
func (f *Fleet) accountOf(r dormouse.Instance) *account {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accounts[r.Account]
}

// account returns the account of a cloud, which is added if it is new.
func (f *Fleet) account(c Cloud) *account {
	f.AddAccount(c)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accounts[c.Key()]
}

// enter takes new instances into the ledger's live rows.
func (f *Fleet) enter(rows []dormouse.Instance) {
	f.mu.Lock()
	var attached []dormouse.Instance
	for _, r := range rows {
		if known := f.rows[r.ID]; known != nil { // a listing was quicker
			known.Worker, known.Generation, known.AttemptID, known.Launch = r.Worker, r.Generation, r.AttemptID, r.Launch
			known.PricePerHour, known.PriceSource = r.PricePerHour, r.PriceSource
			attached = append(attached, *known)
			continue
		}
		key := generationKey{r.Worker, r.Generation}
		if at, ok := f.attached[key]; ok {
			delete(f.attached, key)
			markAttached(&r, at)
			attached = append(attached, r)
		}
		f.rows[r.ID] = &r
	}
	f.mu.Unlock()
	for _, r := range rows {
		f.opt.Changed(r)
	}
	f.save(attached...)
}

// row makes a ledger row of what EC2 says.
func (f *Fleet) row(c dormouse.CloudInstance, now time.Time) dormouse.Instance {
	r := dormouse.Instance{
		ID: c.ID, InstanceType: c.InstanceType, Zone: c.Zone, Market: c.Market, ImageID: c.ImageID,
		State: c.State, StateReason: c.StateReason, LaunchedAt: now, Platform: c.Platform,
	}
	r.Worker, r.Generation, _ = owner(c)
	if c.State == dormouse.InstanceRunning {
		r.RunningAt = now
	}
	return r
}

// owner reads from an instance's tags whose it is.
func owner(c dormouse.CloudInstance) (worker string, generation int64, ok bool) {
	worker = c.Tags[dormouse.TagWorker]
	if worker == "" {
		return "", 0, false
	}
	if _, err := fmt.Sscanf(c.Tags[dormouse.TagGeneration], "%d", &generation); err != nil {
		return worker, 0, false
	}
	return worker, generation, true
}
