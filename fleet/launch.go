package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// maxBatch is how many instances one launch asks for at most. EC2 would take a
// thousand; a tenth of that keeps what one refused call holds up small.
const maxBatch = 100

// maxWindows is how many times [gather] a launch waits for company while more
// comes: half a second, next to a boot of half a minute.
const maxWindows = 10

// Launch is what a launch request is rendered for.
type Launch struct {
	ID    string // of the launch, unique in the deployment
	Count int
	// Worker and Generation are set in a launch for one worker alone.
	Worker     string
	Generation int64
}

// group is a launch that gathers members who want the same.
type group struct {
	key     groupKey
	waiting []*wish
}

// groupKey is what members must have in common to share a launch.
type groupKey struct {
	batch    string
	offering dormouse.Offering
}

// wish is one generation's place in a group.
type wish struct {
	member     *Member
	generation int64
	answer     chan answer // holds one

	withdrawn bool // before the launch was made
	taken     bool // the launch is made, and counts it
	// stored is closed once a launch that has taken the wish is durable, or has
	// failed to be.
	stored chan struct{}
}

type answer struct {
	instanceID string
	err        error
}

// flight is a launch on the wire. Whoever has a part in it waits for the same
// answer: the same bytes are never under way twice at once.
type flight struct {
	done    chan struct{}
	answers map[generationKey]answer
}

// join asks for an instance of an offering, together with whoever wants the
// same within a moment. When ctx ends it returns only once it is certain that
// the generation has no part in a launch, or that the store says which.
func (a *account) join(ctx context.Context, m *Member, o dormouse.Offering, generation int64) (string, error) {
	w := &wish{member: m, generation: generation, answer: make(chan answer, 1), stored: make(chan struct{})}
	key := groupKey{m.Batch, o}
	if m.Batch == "" {
		a.fleet.wg.Go(func() { a.launch(&group{key: key, waiting: []*wish{w}}) })
	} else {
		a.mu.Lock()
		g := a.groups[key]
		if g == nil {
			g = &group{key: key}
			a.groups[key] = g
			a.fleet.wg.Go(func() {
				a.awaitCompany(g)
				a.launch(g)
			})
		}
		g.waiting = append(g.waiting, w)
		if len(g.waiting) >= a.full(o, time.Now()) {
			delete(a.groups, key)
		}
		a.mu.Unlock()
	}
	select {
	case r := <-w.answer:
		return r.instanceID, r.err
	case <-ctx.Done():
	}
	a.mu.Lock()
	w.withdrawn = !w.taken
	taken := w.taken
	a.mu.Unlock()
	if taken {
		<-w.stored
	}
	return "", ctx.Err()
}

// awaitCompany returns once nobody has joined a group in a window, or it is full or
// has waited for long enough: those who want the same at once come apart by what
// the store takes for each.
func (a *account) awaitCompany(g *group) {
	for joined, windows := 1, 0; windows < maxWindows; windows++ {
		pause(a.fleet.ctx, gather)
		a.mu.Lock()
		n, full := len(g.waiting), a.groups[g.key] != g
		a.mu.Unlock()
		if n == joined || full {
			return
		}
		joined = n
	}
}

// launch renders, stores and sends a group's launch.
func (a *account) launch(g *group) {
	a.mu.Lock()
	if a.groups[g.key] == g {
		delete(a.groups, g.key)
	}
	a.mu.Unlock()
	id := strings.ToLower(rand.Text())
	wishes, cost, request, err := a.render(g, id)
	if len(wishes) == 0 {
		a.fleet.settled(id)
		return
	}
	attempts := make([]dormouse.LaunchAttempt, len(wishes))
	fail := func(err error) {
		a.fleet.settled(id)
		if passes(err) { // as of a bid that EC2 would not take
			a.passOver(attempts, err, time.Now())
		}
		for _, w := range wishes {
			w.refuse(err)
		}
	}
	for i, w := range wishes {
		attempts[i] = dormouse.LaunchAttempt{
			Launch: id, Worker: w.member.Worker, Generation: w.generation,
			Account: a.cloud.Key(), Region: a.cloud.Region(), Offering: g.key.offering,
			Token: a.fleet.opt.Token(a.fleet.opt.Deployment, id, 1), Request: request, OpenedAt: time.Now(),
		}
	}
	if err != nil {
		fail(err)
		return
	}
	ctx := a.fleet.ctx
	a.fleet.open(id, attempts)
	attempts, err = a.fleet.opt.Store.OpenAttempts(ctx, attempts)
	if err != nil {
		fail(unanswered(wishes[0].member.Worker, "storing its launch", err))
		return
	}
	f := a.fly(attempts, cost)
	for _, w := range wishes {
		close(w.stored)
	}
	<-f.done
	for _, w := range wishes {
		w.answer <- f.answers[generationKey{w.member.Worker, w.generation}]
	}
}

// render renders the launch of those in a group who still want it and whom the
// budget admits, and takes them: from then on nobody can leave.
func (a *account) render(g *group, id string) (wishes []*wish, cost *question, request []byte, err error) {
	for {
		a.mu.Lock()
		wishes = stillThere(g.waiting)
		a.mu.Unlock()
		if len(wishes) == 0 {
			return nil, nil, nil, nil
		}
		first := wishes[0].member
		cost = a.askPrice(g.key.offering, first.Price)
		n, berr := a.fleet.admit(a.fleet.ctx, id, cost, g.key.offering, len(wishes))
		if n == 0 && errors.As(berr, new(noPrice)) {
			berr = a.firstCause(g.key, wishes[0], id, berr)
		}
		for _, w := range wishes[n:] {
			a.mu.Lock()
			w.withdrawn = true
			a.mu.Unlock()
			w.refuse(berr)
		}
		if wishes = wishes[:n]; n == 0 {
			return nil, nil, nil, nil
		}
		request, err = first.Render(a.fleet.ctx, g.key.offering, first.launch(id, n, wishes[0].generation))
		a.mu.Lock()
		same := len(stillThere(wishes)) == len(wishes)
		if same {
			for _, w := range wishes {
				w.taken = true
			}
		}
		a.mu.Unlock()
		if same {
			return wishes, cost, request, err
		}
	}
}

// refuse answers a wish that has no part in a launch.
func (w *wish) refuse(err error) {
	w.answer <- answer{err: err}
	close(w.stored)
}

func stillThere(wishes []*wish) (out []*wish) {
	for _, w := range wishes {
		if !w.withdrawn {
			out = append(out, w)
		}
	}
	return out
}

// fly sends a stored launch for the first time.
func (a *account) fly(attempts []dormouse.LaunchAttempt, cost *question) *flight {
	f := &flight{done: make(chan struct{})}
	token := attempts[0].Token
	a.mu.Lock()
	a.flights[token] = f
	a.mu.Unlock()
	a.fleet.wg.Go(func() { a.send(f, attempts, cost, false) })
	return f
}

// errSettled says that an attempt that was open a moment ago is not any more: the
// store says what it came to.
var errSettled = dormouse.Errorf(dormouse.Unanswered, "the launch was settled while it was asked for")

// again sends the launch of an open attempt that may have been sent before, or
// joins it where it is under way, and returns what it came to for the attempt's
// generation.
func (a *account) again(ctx context.Context, attempt dormouse.LaunchAttempt, ask PriceOf) (string, error) {
	a.mu.Lock()
	f := a.flights[attempt.Token]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		a.flights[attempt.Token] = f
		a.fleet.wg.Go(func() {
			attempts, err := a.fleet.opt.Store.LaunchAttempts(a.fleet.ctx, attempt.Token)
			if err != nil || len(attempts) == 0 {
				a.land(f, attempt.Token, map[generationKey]answer{
					{attempt.Worker, attempt.Generation}: {err: unanswered(attempt.Worker, "reading its launch", err)},
				})
				return
			}
			if !slices.ContainsFunc(attempts, func(at dormouse.LaunchAttempt) bool { return at.State == dormouse.AttemptOpen }) {
				a.land(f, attempt.Token, nil) // what was read a moment ago has changed
				return
			}
			a.fleet.reopen(attempts)
			a.send(f, attempts, a.askPrice(attempt.Offering, ask), true)
		})
	}
	a.mu.Unlock()
	select {
	case <-f.done:
		r, ok := f.answers[generationKey{attempt.Worker, attempt.Generation}]
		if !ok {
			return "", errSettled
		}
		return r.instanceID, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (a *account) land(f *flight, token string, answers map[generationKey]answer) {
	f.answers = answers
	a.mu.Lock()
	delete(a.flights, token)
	a.mu.Unlock()
	close(f.done)
}

func unanswered(worker, what string, err error) error {
	return &dormouse.Error{Code: dormouse.Unanswered, Message: fmt.Sprintf("%s failed for worker %s", what, worker), Err: err}
}
