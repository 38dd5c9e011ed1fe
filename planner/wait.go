package planner

import "slices"

// waits says which running builds wait for which requests.
type waits struct {
	holders []Holder
	waiting [][]int64     // what each holder waits for, merged requests replaced by what they were merged into
	builtBy map[int64]int // the holder that builds a request
	// open are the requests that builds wait for and that have no place yet; next
	// are those of them that go before their turns. Both are nil when no build waits.
	open, next map[int64]bool
}

// await finds out who waits for whom. The queue is in order of priority and age;
// competes says whether a request needs a place that a holder has one of.
func (w *waits) await(queue []queued, merged []Collapse, competes func(queued, Holder) bool) {
	if !slices.ContainsFunc(w.holders, func(h Holder) bool { return len(h.WaitsFor) > 0 }) {
		return
	}
	into := make(map[int64]int64, len(merged))
	for _, c := range merged {
		into[c.RequestID] = c.Into
	}
	w.waiting, w.builtBy = make([][]int64, len(w.holders)), make(map[int64]int, len(w.holders))
	w.open, w.next = map[int64]bool{}, map[int64]bool{}
	for i, h := range w.holders {
		if h.Request != 0 {
			w.builtBy[h.Request] = i
		}
		w.waiting[i] = instead(h.WaitsFor, into)
	}
	awaitedBy := map[int64][]int{} // by holders that nothing is done for
	for i, list := range w.waiting {
		goesOn := slices.ContainsFunc(list, func(r int64) bool { _, ok := w.builtBy[r]; return ok })
		for _, r := range list {
			w.open[r] = true
			if !goesOn {
				awaitedBy[r] = append(awaitedBy[r], i)
			}
		}
	}
	pending := map[int64]bool{}
	served := map[int]bool{}
	for _, q := range queue {
		id := q.req.ID
		pending[id] = true
		for _, h := range awaitedBy[id] {
			if !served[h] && competes(q, w.holders[h]) {
				served[h], w.next[id] = true, true
			}
		}
	}
	for r := range w.open {
		if !pending[r] {
			delete(w.open, r)
		}
	}
}

// advance reports whether a build waits for a request, and whether the request
// goes first for that.
func (w waits) advance(id int64) (awaited, next bool) { return w.open[id], w.next[id] }

// stalled reports whether a holder waits, directly or by what is built, for a
// request that has no place yet.
func (w *waits) stalled(holder int) bool { return w.stalledBut(holder, map[int]bool{}) }

func (w *waits) stalledBut(holder int, seen map[int]bool) bool {
	if w.open == nil || seen[holder] {
		return false
	}
	seen[holder] = true
	return slices.ContainsFunc(w.waiting[holder], func(r int64) bool {
		by, built := w.builtBy[r]
		return w.open[r] || built && w.stalledBut(by, seen)
	})
}

// instead replaces requests by what they were merged into.
func instead(requests []int64, into map[int64]int64) []int64 {
	out := slices.Clone(requests)
	for i, r := range out {
		if other, ok := into[r]; ok {
			out[i] = other
		}
	}
	return out
}
