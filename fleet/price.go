package fleet

import (
	"cmp"
	"context"
	"maps"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// price is what an offering costs and who says so; perHour is nil when nobody
// does, for err where that is known.
type price struct {
	perHour *float64
	source  string
	err     error
}

// question is a price that is being asked for. Only a budget waits for the answer.
type question struct {
	done chan struct{}
	of   price // once done
}

// askPrice begins to ask for an offering's price.
func (a *account) askPrice(o dormouse.Offering, ask PriceOf) *question {
	q := &question{done: make(chan struct{})}
	if ask == nil {
		close(q.done)
		return q
	}
	a.fleet.wg.Go(func() {
		defer close(q.done)
		q.of.perHour, q.of.source, q.of.err = ask(a.fleet.ctx, o)
	})
	return q
}

// wait returns the answer once there is one.
func (q *question) wait(ctx context.Context) price {
	select {
	case <-q.done:
		return q.of
	case <-ctx.Done():
		return price{err: ctx.Err()}
	}
}

// now returns the answer, which is empty while there is none.
func (q *question) now() price {
	select {
	case <-q.done:
		return q.of
	default:
		return price{}
	}
}

// priceLater enters what those instances cost that have no price, once that is known.
func (a *account) priceLater(rows []dormouse.Instance, q *question) {
	a.fleet.wg.Go(func() { a.fleet.priced(rows, q.wait(a.fleet.ctx)) })
}

// priced enters what instances cost whose price was not known.
func (f *Fleet) priced(rows []dormouse.Instance, cost price) {
	if cost.perHour == nil {
		return
	}
	var changed []dormouse.Instance
	f.mu.Lock()
	for _, r := range rows {
		now := f.rows[r.ID]
		if now == nil && !r.EndedAt.IsZero() {
			now = &r // it had ended before
		}
		if now != nil && now.PricePerHour == nil {
			now.PricePerHour, now.PriceSource = cost.perHour, cost.source
			changed = append(changed, *now)
		}
	}
	f.mu.Unlock()
	f.save(changed...)
}

// priceAgain asks for the prices of the account's instances that have none: a right
// or a price_per_hour may have been given since, and a budget admits nothing beside
// what it cannot count.
func (a *account) priceAgain() {
	f := a.fleet
	var rows []dormouse.Instance
	f.mu.Lock()
	for _, r := range f.rows {
		if r.Account == a.cloud.Key() && r.PricePerHour == nil && r.Worker != "" {
			rows = append(rows, *r)
		}
	}
	f.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.opt.Price == nil || len(rows) == 0 || time.Since(a.repriced) < f.scaled(trialFresh) {
		return
	}
	a.repriced = time.Now()
	f.wg.Go(func() {
		for _, r := range rows {
			var cost price
			cost.perHour, cost.source, cost.err = f.opt.Price(f.ctx, r)
			f.priced([]dormouse.Instance{r}, cost) // why there is none was said at the launch
		}
	})
}

// trialFresh is for how long a launch that EC2 would carry out is not tried again:
// as long as a price that was not to be had is not asked for again.
const trialFresh = 5 * time.Minute

// firstCause is why a launch is not sent whose price is not known. What EC2 would
// refuse it for comes before that: a wrong key, an endpoint that nobody answers at,
// a type that does not exist have no price either.
func (a *account) firstCause(key groupKey, w *wish, id string, unknown error) error {
	key.batch = cmp.Or(key.batch, w.member.Worker) // the request tells those apart that share none
	a.mu.Lock()
	fresh := time.Since(a.trials[key]) < trialFresh
	a.mu.Unlock()
	if fresh {
		return unknown
	}
	ctx, m := a.fleet.ctx, w.member
	request, err := m.Render(ctx, key.offering, m.launch(id, 1, w.generation))
	if err == nil {
		err = a.cloud.Try(ctx, request)
	}
	if err == nil || passes(err) { // as for the price, that is not what is in the way
		a.mu.Lock()
		defer a.mu.Unlock()
		now := time.Now()
		maps.DeleteFunc(a.trials, func(_ groupKey, at time.Time) bool { return now.Sub(at) >= trialFresh })
		a.trials[key] = now
		return unknown
	}
	return err
}

// launch is what a launch of the member's is rendered for.
func (m *Member) launch(id string, count int, generation int64) Launch {
	l := Launch{ID: id, Count: count}
	if m.Batch == "" {
		l.Worker, l.Generation = m.Worker, generation
	}
	return l
}
