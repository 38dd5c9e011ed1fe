package fleet

import (
	"cmp"
	"context"
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

// now returns the answer, and whether there is one yet.
func (q *question) now() (price, bool) {
	select {
	case <-q.done:
		return q.of, true
	default:
		return price{}, false
	}
}

// priceLater enters what instances cost once that is known.
func (a *account) priceLater(rows []dormouse.Instance, q *question) {
	a.fleet.wg.Go(func() {
		cost := q.wait(a.fleet.ctx)
		if cost.perHour == nil {
			return
		}
		f := a.fleet
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
		a.trials[key] = time.Now()
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
