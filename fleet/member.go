package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// visibleWithin is how long EC2 may take to show an instance that it has
// accepted. Until then an id that it does not know is unknown, not dead. The
// EC2 developer guide ("Eventual consistency") has callers retry for up to five
// minutes.
const visibleWithin = 5 * time.Minute

// Member is one latent worker's part of the fleet: what it may be started as,
// and its starts and stops.
type Member struct {
	Fleet  *Fleet
	Worker string
	Cloud  Cloud
	// Offerings are what may be launched, the preferred first.
	Offerings []dormouse.Offering
	// Render makes the launch request of a generation. It may call EC2 (to
	// choose an image, to make a keypair), but starts nothing.
	Render func(ctx context.Context, o dormouse.Offering, generation int64) ([]byte, error)
	// Price returns an offering's price per hour in US dollars and where it
	// was learned, or nil when it is not known.
	Price func(o dormouse.Offering) (*float64, string)
}

// Start brings up an instance for a generation, going on where an earlier call
// or process was. See latent.Provider.
func (m *Member) Start(ctx context.Context, generation int64) (string, error) {
	attempts, err := m.Fleet.opt.Store.Attempts(ctx, m.Worker, generation)
	if err != nil {
		return "", m.unanswered("reading its launch attempts", err)
	}
	if n := len(attempts); n > 0 {
		switch last := attempts[n-1]; last.State {
		case dormouse.AttemptAccepted:
			return m.instanceOf(generation)
		case dormouse.AttemptOpen:
			id, err := m.settle(ctx, last, true)
			if dormouse.CodeOf(err) != dormouse.Capacity {
				return id, err
			}
		case dormouse.AttemptRefused:
		}
	}
	var refusals []string
	for {
		offering, again, ok := m.choose()
		if !ok {
			return "", m.noCapacity(refusals, again)
		}
		attempt, err := m.open(ctx, generation, offering)
		if err != nil {
			return "", err
		}
		id, err := m.settle(ctx, attempt, false)
		if dormouse.CodeOf(err) != dormouse.Capacity {
			return id, err
		}
		refusals = append(refusals, fmt.Sprintf("%s: %v", offering, err))
	}
}

func (m *Member) choose() (dormouse.Offering, time.Time, bool) {
	m.Fleet.mu.Lock()
	defer m.Fleet.mu.Unlock()
	return m.Fleet.short.choose(m.Cloud.Key(), m.Offerings, time.Now())
}

func (m *Member) noCapacity(refusals []string, again time.Time) error {
	tried := strings.Join(refusals, "; ")
	if tried == "" {
		names := make([]string, len(m.Offerings))
		for i, o := range m.Offerings {
			names[i] = o.String()
		}
		tried = strings.Join(names, "; ") + ": refused a moment ago"
	}
	return dormouse.Errorf(dormouse.Capacity, "no offering has capacity for worker %s until at least %s (%s); add instance types or zones to try",
		m.Worker, again.Format("15:04:05"), tried)
}

// open renders a launch and makes it durable.
func (m *Member) open(ctx context.Context, generation int64, o dormouse.Offering) (dormouse.LaunchAttempt, error) {
	rendered, err := m.Render(ctx, o, generation)
	if err != nil {
		return dormouse.LaunchAttempt{}, err
	}
	attempts, err := m.Fleet.opt.Store.Attempts(ctx, m.Worker, generation)
	if err != nil {
		return dormouse.LaunchAttempt{}, m.unanswered("reading its launch attempts", err)
	}
	launch := fmt.Sprintf("%s/%d", m.Worker, generation)
	number := len(attempts) + 1
	attempt, err := m.Fleet.opt.Store.OpenAttempt(ctx, dormouse.LaunchAttempt{
		Worker: m.Worker, Generation: generation, Number: number,
		Account: m.Cloud.Key(), Region: m.Cloud.Region(), Offering: o,
		Token: m.Fleet.opt.Token(m.Fleet.opt.Deployment, launch, number), Request: rendered,
		State: dormouse.AttemptOpen, OpenedAt: time.Now(),
	})
	if err != nil {
		return dormouse.LaunchAttempt{}, m.unanswered("storing its launch", err)
	}
	return attempt, nil
}

// settle sends an attempt, and stores what came of it. With again, it may have
// been sent before, so that a refusal by whoever did not look at the launch
// itself says nothing about the first time.
func (m *Member) settle(ctx context.Context, a dormouse.LaunchAttempt, again bool) (string, error) {
	launched, err := m.Cloud.Launch(ctx, a.Request, a.Token)
	if err == nil && len(launched) == 0 {
		err = dormouse.Errorf(dormouse.Unanswered, "EC2 accepted the launch for worker %s and named no instance", m.Worker)
	}
	if err != nil {
		refused, err := m.refused(ctx, a, again, err)
		if !refused {
			return "", &dormouse.Error{Code: dormouse.Unanswered, Message: "the launch for worker " + m.Worker + " has no answer yet", Err: err}
		}
		a.State, a.SettledAt = dormouse.AttemptRefused, time.Now()
		a.Error = err.Error()
		var e *dormouse.Error
		if errors.As(err, &e) {
			a.ErrorCode = e.Remote
		}
		if serr := m.Fleet.opt.Store.SettleAttempt(ctx, a, nil); serr != nil {
			return "", m.unanswered("storing EC2's refusal", serr)
		}
		if dormouse.CodeOf(err) == dormouse.Capacity {
			m.Fleet.mu.Lock()
			m.Fleet.short.add(m.Cloud.Key(), a.Offering, time.Now())
			m.Fleet.mu.Unlock()
		}
		return "", err
	}
	a.State, a.SettledAt = dormouse.AttemptAccepted, time.Now()
	rows := make([]dormouse.Instance, len(launched))
	for i, c := range launched {
		rows[i] = m.Fleet.row(c, a.SettledAt)
		rows[i].Account, rows[i].Region = m.Cloud.Key(), m.Cloud.Region()
		rows[i].Worker, rows[i].Generation, rows[i].AttemptID = m.Worker, a.Generation, a.ID
		if m.Price != nil {
			rows[i].PricePerHour, rows[i].PriceSource = m.Price(a.Offering)
		}
	}
	// The instance exists: this must be stored even when the caller is gone.
	if err := m.Fleet.opt.Store.SettleAttempt(context.WithoutCancel(ctx), a, rows); err != nil {
		return "", m.unanswered("storing instance "+rows[0].ID, err)
	}
	m.Fleet.enter(rows)
	return rows[0].ID, nil
}

// refused reports whether err says for certain that the attempt started
// nothing, now or earlier.
func (m *Member) refused(ctx context.Context, a dormouse.LaunchAttempt, again bool, err error) (bool, error) {
	switch code := dormouse.CodeOf(err); {
	case ctx.Err() != nil, code == dormouse.Unanswered, code == dormouse.Internal:
		return false, err
	case !again, code == dormouse.Capacity, code == dormouse.Quota:
		return true, err
	}
	// Sent before, and now refused for a reason that may be new: credentials,
	// an image that was removed since. Only the cloud itself can tell.
	if time.Since(a.OpenedAt) < visibleWithin {
		return false, err
	}
	listed, lerr := m.Cloud.List(ctx)
	if lerr != nil {
		return false, errors.Join(err, lerr)
	}
	for _, c := range listed {
		if w, g, ok := owner(c); ok && w == m.Worker && g == a.Generation {
			return false, err // it is there; the listing's rows will own it
		}
	}
	return true, err
}

// instanceOf returns the instance an accepted attempt of the generation has.
func (m *Member) instanceOf(generation int64) (string, error) {
	if rows := m.Fleet.instancesOf(m.Worker, generation); len(rows) > 0 {
		return rows[0].ID, nil
	}
	return "", dormouse.Errorf(dormouse.Capacity, "the instance of generation %d of worker %s has ended already", generation, m.Worker)
}

// Prepare has nothing to do for an instance without addresses or volumes.
func (m *Member) Prepare(context.Context, int64) error { return nil }

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
		if n := len(attempts); n > 0 && attempts[n-1].State == dormouse.AttemptAccepted {
			return dormouse.InstanceGone, "it has ended", nil
		}
		return dormouse.InstancePending, "", nil // the start has not returned
	}
	return rows[0].State, rows[0].StateReason, nil
}

// Stop ends whatever the generation has or may have. See latent.Provider.
func (m *Member) Stop(ctx context.Context, generation int64, console bool) error {
	attempts, err := m.Fleet.opt.Store.Attempts(ctx, m.Worker, generation)
	if err != nil {
		return fmt.Errorf("reading its launch attempts: %w", err)
	}
	for _, a := range attempts {
		if a.State != dormouse.AttemptOpen {
			continue
		}
		if _, err := m.settle(ctx, a, true); dormouse.CodeOf(err) == dormouse.Unanswered {
			return fmt.Errorf("it may have started an instance: %w", err)
		}
	}
	rows := m.Fleet.instancesOf(m.Worker, generation)
	if console {
		m.keepConsole(ctx, rows)
	}
	account := m.Fleet.account(m.Cloud)
	var failed []error
	for _, r := range rows {
		if !r.StoppingAt.IsZero() || r.State.Dying() {
			continue
		}
		if err := account.terminate(ctx, r); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	if len(rows) == 0 {
		m.Fleet.opt.Ended(m.Worker, generation, "")
	}
	return nil
}

// keepConsole keeps what the machines printed with their attempts. Failing to
// is no reason to let a machine run.
func (m *Member) keepConsole(ctx context.Context, rows []dormouse.Instance) {
	for _, r := range rows {
		text, err := m.Cloud.Console(ctx, r.ID)
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

func (m *Member) unanswered(what string, err error) error {
	return &dormouse.Error{Code: dormouse.Unanswered, Message: fmt.Sprintf("%s failed for worker %s", what, m.Worker), Err: err}
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
		if known := f.rows[r.ID]; known != nil {
			continue // a listing was quicker
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
		State: c.State, StateReason: c.StateReason, LaunchedAt: now,
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
