package planner

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
	full    uint8    // the stages, as bits, for which no path is left
	needs   []need   // the locks of its builds, whatever the worker
	// tied are the locks of its builds on the worker of each edge, nil until they are
	// asked for. It is nil where they are the same on each: needs.
	tied [][]need
	// over says that no more of its requests find a place, and obstacle for which
	// lock: of those without a build that waits for them, and of those with one.
	over     [2]bool
	obstacle [2]*obstacle
}

// needsOn are the locks that a build of the builder needs on the worker of an edge.
func (n *network) needsOn(b *builderNode, edge int) []need {
	if b.tied == nil {
		return b.needs
	}
	if b.tied[edge] == nil {
		w := &n.workers[b.edges[edge].worker]
		b.tied[edge] = append([]need{}, needs(b.Locks, w.Locks, w.Name)...)
	}
	return b.tied[edge]
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

func newNetwork(in Input) *network {
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
		node := builderNode{Builder: b, running: runs[b.Name], edges: make([]edge, 0, len(b.WorkerNames))}
		wide, tied := bound(b.Locks)
		for _, name := range b.WorkerNames {
			w, ok := byWorker[name]
			if !ok {
				node.missing = append(node.missing, name)
				continue
			}
			if seen[w] == len(n.builders)+1 {
				continue
			}
			seen[w] = len(n.builders) + 1
			tied = tied || len(n.workers[w].Locks) > 0
			node.edges = append(node.edges, edge{
				worker: w, busy: slices.Contains(n.workers[w].RunningBuilders, b.Name),
			})
		}
		slices.SortFunc(node.edges, func(a, b edge) int { return int(a.worker - b.worker) })
		node.needs = needs(wide, nil, "")
		if tied {
			node.tied = make([][]need, len(node.edges))
		}
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

// open reports whether a worker has room for another build of a builder.
func (n *network) open(e edge) bool {
	w := &n.workers[e.worker]
	return !e.busy && !e.flow && w.free > 0 && w.class != 0
}

// rooms are the builder's edges to workers that have room for another of its
// builds. The second are locks of which such a worker has too few for ever.
func (n *network) rooms(b *builderNode) (edges []int, never []obstacle) {
	for i, e := range b.edges {
		if !n.open(e) {
			continue
		}
		if on := n.needsOn(b, i); slices.ContainsFunc(on, need.never) {
			never = append(never, obstacle{need: on[slices.IndexFunc(on, need.never)]})
			continue
		}
		edges = append(edges, i)
	}
	return edges, never
}

// usable reports whether a worker takes builds now, or will.
func (n *network) usable(e edge) bool { return n.workers[e.worker].class != 0 }

// stage is a kind of place that a request may have.
type stage struct {
	bit  uint8
	on   class
	idle bool // the worker has no build, and is given none yet
}

// The stages are tried in this order. A ready worker without a build comes before
// one with others, even if somebody has to move for that: who was in demand, and is
// ready now, gets a build.
var (
	idle     = stage{1, ready, true}
	attached = stage{2, ready, false}
	onItsWay = stage{4, starting, false}
	mayCome  = stage{8, starting | startable, false}
)

// augment finds one more unit of flow from the builder, moving what is there
// to other workers where needed; what flows already keeps flowing. When it
// fails, everything the search saw is a closed part of the network without a
// free place. No later path can get out of such a part, so the builders in it
// need never be searched again.
func (n *network) augment(builder int, to stage) bool {
	from := int32(builder)
	b, e := n.find(from, to)
	if e < 0 {
		return false
	}
	n.push(from, b, e)
	return true
}

// reaches reports whether a request of the builder could have a place, if it had
// its locks.
func (n *network) reaches(builder int) bool {
	b := &n.builders[builder]
	if b.tied != nil {
		rooms, _ := n.rooms(b)
		return len(rooms) > 0
	}
	for _, to := range []stage{attached, mayCome} {
		if _, e := n.find(int32(builder), to); e >= 0 {
			return true
		}
	}
	return false
}

// find is the search for a path: the builder at its end, with the edge that is
// free, or -1.
func (n *network) find(from int32, to stage) (last, ei int32) {
	if n.builders[from].full&to.bit != 0 {
		return from, -1
	}
	n.search++
	n.visited[from] = n.search
	n.frontier = append(n.frontier[:0], from)
	for i := 0; i < len(n.frontier); i++ {
		b := n.frontier[i]
		if e := n.choose(b, to); e >= 0 {
			return b, e
		}
		for ei, e := range n.builders[b].edges {
			w := &n.workers[e.worker]
			if e.busy || e.flow || w.class&to.on == 0 {
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
		n.builders[b].full |= to.bit
	}
	return from, -1
}

// load is how many builds a worker has, or is given.
func (w *workerNode) load() int { return w.Builds + len(w.holders) + w.fixed }

// choose picks the builder's edge to a worker with a free place, -1 if there is
// none. Among ready workers the one with the fewest builds is the quickest.
// Among the others it is one that is wanted already, so that few machines are
// started. Beyond that the configuration's order counts.
func (n *network) choose(b int32, to stage) int32 {
	best, bestRank := int32(-1), 0
	for i, e := range n.builders[b].edges {
		w := &n.workers[e.worker]
		if e.busy || e.flow || w.free == 0 || w.class&to.on == 0 || to.idle && w.load() > 0 {
			continue
		}
		rank := 0
		if w.class == ready {
			rank = w.load()
		} else if w.load() == 0 {
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

// rank orders workers as they are preferred where nobody moves for a request:
// ready ones by how few builds they have, then those that start, then those that
// are to be started, and of both first those that are wanted already.
func (n *network) rank(b *builderNode, edge int) int {
	w := &n.workers[b.edges[edge].worker]
	if w.class == ready {
		return min(w.load(), unlimited)
	}
	rank := unlimited + 1
	if w.class == startable {
		rank += 2
	}
	if w.load() == 0 {
		rank++
	}
	return rank
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

// take gives each of the placed requests one of the places its builder got on
// workers of some classes, in order, and returns the workers' indices.
func (n *network) take(served []queued, on class) []int32 {
	next := make([]int32, len(n.builders))
	out := make([]int32, len(served))
	for i, q := range served {
		edges := n.builders[q.builder].edges
		at := next[q.builder]
		for !edges[at].flow || edges[at].taken || n.workers[edges[at].worker].class&on == 0 {
			at++
		}
		edges[at].taken = true
		out[i], next[q.builder] = edges[at].worker, at+1
	}
	return out
}
