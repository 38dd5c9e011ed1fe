package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// A chain of builds that wait for each other is looked at up to this length, and so
// many chains from one builder, chains in all, and placements of one are tried: more is
// not a configuration that a person has thought of, and the rest is told when it happens.
const (
	maxChain       = 8
	maxChainsOfOne = 200
	maxChains      = 5_000
	maxPlacements  = 1_000
)

// circles warns of Trigger steps that can never end: they wait for builds that need
// what the waiting builds hold, a worker's place or a lock.
func (g *global) circles(m *Master) {
	c := circle{g: g, builders: map[string]*dormouse.Builder{}, targets: map[string][]string{}, workers: map[*dormouse.Builder][]*Worker{}, said: map[string]bool{}}
	for i := range m.Builders {
		c.builders[m.Builders[i].Name] = &m.Builders[i]
	}
	for _, t := range m.Triggerables {
		c.targets[t.Name] = t.BuilderNames
	}
	defined := map[string][]*Worker{}
	for _, w := range m.Workers {
		defined[w.Name] = instancesOf(w)
	}
	for i := range m.Builders {
		b := &m.Builders[i]
		for _, name := range b.WorkerNames {
			c.workers[b] = append(c.workers[b], defined[name]...)
		}
	}
	for i := range m.Builders {
		c.left = min(maxChainsOfOne, maxChains-c.looked)
		c.follow([]*dormouse.Builder{&m.Builders[i]})
	}
}

// instancesOf are the workers that a definition stands for, as many of them as a
// chain can use.
func instancesOf(w Worker) []*Worker {
	if w.EC2 == nil || w.EC2.Instances <= 1 {
		return []*Worker{&w}
	}
	var out []*Worker
	for i := range min(w.EC2.Instances, maxChain) {
		one := w
		one.Name = fmt.Sprintf("%s-%d", w.Name, i+1)
		out = append(out, &one)
	}
	return out
}

// circle is the search for them.
type circle struct {
	g        *global
	builders map[string]*dormouse.Builder
	targets  map[string][]string // a Triggerable's builders
	workers  map[*dormouse.Builder][]*Worker
	looked   int // chains so far
	left     int // chains from one builder that are looked at still
	said     map[string]bool
}

// follow looks at what the last build of a chain triggers and waits for, while
// all before it wait.
func (c *circle) follow(chain []*dormouse.Builder) {
	for _, step := range chain[len(chain)-1].Steps {
		t, ok := step.Action.(dormouse.Trigger)
		if !ok || !t.WaitForFinish || step.DoStepIf == false {
			continue
		}
		for _, v := range t.Schedulers {
			name, _ := v.(string)
			for _, target := range c.targets[name] {
				if b := c.builders[target]; b != nil && c.left > 0 {
					c.left, c.looked = c.left-1, c.looked+1
					c.look(chain, step, b)
				}
			}
		}
	}
}

func (c *circle) look(chain []*dormouse.Builder, step dormouse.StepSpec, b *dormouse.Builder) {
	again := slices.Contains(chain, b)
	longer := append(slices.Clone(chain), b)
	switch {
	case !c.fits(longer, true):
		c.warn(longer, step, c.lack(longer))
	case again && step.DoStepIf == nil:
		c.warn(longer, step, "each of these builds starts another one, and waits for it: none ever ends")
	case !again && len(longer) < maxChain:
		c.follow(longer)
	}
}

// warn says what is wrong with a chain: once for each step and builder.
func (c *circle) warn(chain []*dormouse.Builder, step dormouse.StepSpec, lack string) {
	last := chain[len(chain)-1]
	key := step.Pos + "\x00" + last.Name
	if c.said[key] {
		return
	}
	c.said[key] = true
	said := "builder " + quote(chain[0].Name)
	for i, b := range chain[1:] {
		if i > 0 {
			said += ", which"
		}
		said += " waits for builds of " + quote(b.Name)
	}
	c.g.r.warnf(placeOfPos(step.Pos, c.g.at("builders")), "change that, or trigger them with waitForFinish=False", "steps.Trigger can never end: %s; %s", said, lack)
}

// lack says why a chain has no room.
func (c *circle) lack(chain []*dormouse.Builder) string {
	last := chain[len(chain)-1]
	if !c.fits(chain, false) {
		var names []string
		for _, w := range c.workers[last] {
			if w.MaxBuilds > 0 {
				names = append(names, fmt.Sprintf("%s (max_builds=%d)", w.Name, w.MaxBuilds))
			} else {
				names = append(names, w.Name)
			}
		}
		if len(names) > 4 {
			names = append(names[:4], fmt.Sprintf("and %d more", len(names)-4))
		}
		if slices.Contains(chain[:len(chain)-1], last) {
			return fmt.Sprintf("a worker runs one build of %s at a time, and there is only %s", quote(last.Name), strings.Join(names, ", "))
		}
		return fmt.Sprintf("these need a worker of %s, and builds that wait for them hold its places", strings.Join(names, ", "))
	}
	for _, a := range last.Locks {
		for _, b := range chain[:len(chain)-1] {
			if slices.ContainsFunc(b.Locks, func(o dormouse.LockAccess) bool { return o.Lock.Name == a.Lock.Name }) {
				return fmt.Sprintf("these need lock %s, and %s holds it while it waits", quote(a.Lock.Name), quote(b.Name))
			}
		}
	}
	return "these need locks of their workers that builds which wait for them hold"
}

// fits reports whether builds of all builders of a chain can run at the same time,
// on whichever of their workers.
func (c *circle) fits(chain []*dormouse.Builder, locks bool) bool {
	p := placements{c: c, chain: chain, locks: locks, left: maxPlacements, on: map[string][]*dormouse.Builder{}}
	return p.place(0)
}

// placements tries to place the builds of a chain, one after another.
type placements struct {
	c     *circle
	chain []*dormouse.Builder
	locks bool
	left  int // placements to be tried still; without any, the chain is taken to fit
	on    map[string][]*dormouse.Builder
	held  []hold
}

// hold is one use of a lock.
type hold struct {
	what        string
	exclusive   bool
	count, most int
}

func (p *placements) place(i int) bool {
	if i == len(p.chain) || p.left <= 0 {
		return true
	}
	b := p.chain[i]
	for _, w := range p.c.workers[b] {
		if slices.Contains(p.on[w.Name], b) || w.MaxBuilds > 0 && len(p.on[w.Name]) >= w.MaxBuilds {
			continue
		}
		uses := holdsOf(b, w)
		if p.locks && !p.free(uses) {
			continue
		}
		p.left--
		before := len(p.held)
		p.on[w.Name], p.held = append(p.on[w.Name], b), append(p.held, uses...)
		fits := p.place(i + 1)
		p.on[w.Name], p.held = p.on[w.Name][:len(p.on[w.Name])-1], p.held[:before]
		if fits {
			return true
		}
	}
	return false
}

// free reports whether uses can be had beside what is held.
func (p *placements) free(uses []hold) bool {
	for _, u := range uses {
		count := u.count
		for _, h := range p.held {
			if h.what != u.what {
				continue
			}
			if h.exclusive || u.exclusive {
				return false
			}
			count += h.count
		}
		if !u.exclusive && count > u.most {
			return false
		}
	}
	return true
}

// holdsOf is what a build of a builder holds on a worker. A lock that both name is
// used once, in the stricter way.
func holdsOf(b *dormouse.Builder, w *Worker) (out []hold) {
	for _, a := range slices.Concat(b.Locks, w.Locks) {
		what, most := a.Lock.On(w.Name)
		h := hold{what, a.Exclusive, max(a.Count, 1), most}
		if at := slices.IndexFunc(out, func(o hold) bool { return o.what == what }); at >= 0 {
			out[at].exclusive, out[at].count = out[at].exclusive || h.exclusive, max(out[at].count, h.count)
			continue
		}
		out = append(out, h)
	}
	return out
}
