package schedule

import "slices"

// class says what a worker can do for a request. A worker has one, or none.
type class uint8

const (
	ready     class = 1 << iota // takes builds now
	starting                    // will, soon
	startable                   // would, if it were substantiated
)

// network is the flow network of one plan: builders on the left, workers on the
// right. See the package comment for why a flow.
type network struct {
	builders  []builderNode
	byBuilder map[string]int
	workers   []workerNode
	byWorker  map[string]int32

	visited  []int32 // per builder: the search that saw it last
	came     []step  // per builder: how that search reached it
	search   int32
	frontier []int32
}

type builderNode struct {
	Builder
	edges   []edge
	missing []string // configured worker names that no worker has
	running int      // builds of it that run now, on any worker
	waiting int      // requests of it seen so far, while turns are dealt
	full    class    // for workers of exactly these classes no path is left
	limit   int      // requests of it that may still be placed, for its locks
}

// edge says that a builder's builds may run on a worker.
type edge struct {
	worker int32
	busy   bool // the worker runs a build of the builder already
	flow   bool // the plan puts one there
	taken  bool // the flow has been given to a request
}

type workerNode struct {
	Worker
	class   class
	free    int      // further builds it can take
	fixed   int      // builds that were given to it by choice
	holders []holder // whose flow it carries
}

// holder is one unit of flow through a worker, seen from the worker.
type holder struct{ builder, edge int32 }

// step is one hop of an augmenting path, taken backwards: builder `from` gets
// its edge `edge`, on which a worker is freed by the holder that moves on.
type step struct{ from, edge, holder int32 }

// unlimited stands for a worker with no limit of builds; it is more than any
// number of builders, each of which has one build there at most.
const unlimited = 1 << 30

func newNetwork(in Input, r *restraint) *network {
	byWorker := make(map[string]int32, len(in.Workers))
	n := &network{byBuilder: make(map[string]int, len(in.Builders)), byWorker: byWorker}
	runs := make(map[string]int)
	n.workers = make([]workerNode, 0, len(in.Workers))
	for _, w := range in.Workers {
		if _, twice := byWorker[w.Name]; twice {
			continue
		}
		byWorker[w.Name] = int32(len(n.workers))
		n.workers = append(n.workers, workerNode{Worker: w, class: classOf(w), free: freePlaces(w)})
		for _, b := range w.RunningBuilders {
			runs[b]++
		}
	}
	n.builders = make([]builderNode, 0, len(in.Builders))
	seen := make([]int, len(n.workers)) // the last builder, counted from 1, that named the worker
	for _, b := range in.Builders {
		if _, twice := n.byBuilder[b.Name]; twice {
			continue
		}
		n.byBuilder[b.Name] = len(n.builders)
		node := builderNode{Builder: b, running: runs[b.Name], edges: make([]edge, 0, len(b.WorkerNames)), limit: unlimited}
		if most, ok := r.limit[b.Name]; ok {
			node.limit = most
		}
		for _, name := range b.WorkerNames {
			w, ok := byWorker[name]
			if !ok {
				node.missing = append(node.missing, name)
				continue
			}
			if seen[w] == len(n.builders)+1 || r.closed[[2]string{b.Name, name}] {
				continue
			}
			seen[w] = len(n.builders) + 1
			node.edges = append(node.edges, edge{
				worker: w, busy: slices.Contains(n.workers[w].RunningBuilders, b.Name),
			})
		}
		slices.SortFunc(node.edges, func(a, b edge) int { return int(a.worker - b.worker) })
		n.builders = append(n.builders, node)
	}
	n.visited = make([]int32, len(n.builders))
	n.came = make([]step, len(n.builders))
	return n
}

func classOf(w Worker) class {
	switch {
	case w.Paused || w.Graceful:
		return 0
	case w.Ready:
		return ready
	case w.Latent && w.Starting:
		return starting
	case w.Latent && w.Startable:
		return startable
	}
	return 0
}

func freePlaces(w Worker) int {
	if w.MaxBuilds <= 0 {
		return unlimited
	}
	return max(0, w.MaxBuilds-max(w.Builds, len(w.RunningBuilders)))
}

// place adds the requests to the flow, one after another, on workers of the
// given classes, and returns those that found a place and those that did not.
func (n *network) place(queue []queued, on class) (served, rest []queued) {
	for _, q := range queue {
		if b := &n.builders[q.builder]; b.limit > 0 && !b.chooses() && n.augment(int32(q.builder), on) {
			n.builders[q.builder].limit--
			served = append(served, q)
		} else {
			rest = append(rest, q)
		}
	}
	return served, rest
}

// augment finds one more unit of flow from the builder, moving what is there
// to other workers where needed; what flows already keeps flowing. When it
// fails, everything the search saw is a closed part of the network without a
// free place. No later path can get out of such a part, so the builders in it
// need never be searched again.
func (n *network) augment(from int32, on class) bool {
	if n.builders[from].full == on {
		return false
	}
	n.search++
	n.visited[from] = n.search
	n.frontier = append(n.frontier[:0], from)
	for i := 0; i < len(n.frontier); i++ {
		b := n.frontier[i]
		if e := n.choose(b, on); e >= 0 {
			n.push(from, b, e)
			return true
		}
		for ei, e := range n.builders[b].edges {
			w := &n.workers[e.worker]
			if e.busy || e.flow || w.class&on == 0 {
				continue
			}
			for hi, h := range w.holders {
				if n.visited[h.builder] != n.search {
					n.visited[h.builder] = n.search
					n.came[h.builder] = step{from: b, edge: int32(ei), holder: int32(hi)}
					n.frontier = append(n.frontier, h.builder)
				}
			}
		}
	}
	for _, b := range n.frontier {
		n.builders[b].full = on
	}
	return false
}

// choose picks the builder's edge to a worker with a free place, -1 if there is
// none. Among ready workers the one with the fewest builds is the quickest.
// Among the others it is one that is wanted already, so that few machines are
// started. Beyond that the configuration's order counts.
func (n *network) choose(b int32, on class) int32 {
	best, bestRank := int32(-1), 0
	for i, e := range n.builders[b].edges {
		w := &n.workers[e.worker]
		if e.busy || e.flow || w.free == 0 || w.class&on == 0 {
			continue
		}
		rank := 0
		if w.class == ready {
			rank = w.Builds + len(w.holders) + w.fixed
		} else if len(w.holders)+w.fixed == 0 {
			rank = 1
		}
		if best < 0 || rank < bestRank {
			best, bestRank = int32(i), rank
		}
		if rank == 0 {
			break
		}
	}
	return best
}

// push adds the unit that augment found: builder last gets its edge, and from
// there back to the builder that asked, each takes over the place that the
// next one gave up.
func (n *network) push(asked, last, ei int32) {
	e := &n.builders[last].edges[ei]
	w := &n.workers[e.worker]
	e.flow = true
	w.free--
	w.holders = append(w.holders, holder{builder: last, edge: ei})
	for b := last; b != asked; {
		s := n.came[b]
		got := &n.builders[s.from].edges[s.edge]
		h := &n.workers[got.worker].holders[s.holder]
		n.builders[h.builder].edges[h.edge].flow = false
		*h = holder{builder: s.from, edge: s.edge}
		got.flow = true
		b = s.from
	}
}

// take gives each of the placed requests one of the places its builder got, in
// order, and returns the workers' indices.
func (n *network) take(served []queued) []int32 {
	next := make([]int32, len(n.builders))
	out := make([]int32, len(served))
	for i, q := range served {
		edges := n.builders[q.builder].edges
		at := next[q.builder]
		for !edges[at].flow || edges[at].taken {
			at++
		}
		edges[at].taken = true
		out[i], next[q.builder] = edges[at].worker, at+1
	}
	return out
}
