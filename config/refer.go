package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
)

// list reads a list of objects under a key. Each is given to use with what it
// was read as, which reports whether it is of the right kind.
func (g *global) list(key, allowed string, use func(o *object, v any) bool) {
	f, ok := g.some(key)
	if !ok {
		return
	}
	items, _ := f.items("a list of " + allowed)
	if g.listed == nil {
		g.listed = make(map[*object]bool)
	}
	for _, item := range items {
		o, ok := item.v.(*object)
		if ok && o.class.later {
			continue
		}
		if !ok || o.class.list != key || !use(o, g.r.value(o)) {
			item.bad("a list of " + allowed)
			continue
		}
		if g.listed[o] {
			g.r.errorf(item.at, "", "%s has %s twice", f.label, o)
		}
		g.listed[o] = true
	}
}

func (g *global) workers(m *Master) {
	seen, held := make(map[string]*object), make(map[string]*object)
	g.list("workers", "workers", func(o *object, v any) bool {
		w, ok := v.(Worker)
		if !ok {
			return false
		}
		m.Workers = append(m.Workers, w)
		g.unique(seen, o, "worker", w.Name)
		if w.EC2 != nil {
			g.instances(seen, o, w)
			g.shared(held, o, w.EC2)
		}
		return true
	})
	if f, ok := g.some("workers"); !ok || starlark.Len(f.v) == 0 {
		g.r.errorf(g.at("workers"), "add worker.Worker(…) or worker.EC2LatentWorker(…) to c['workers']", "no workers are configured")
	}
}

// instances checks the names NAME-1, NAME-2, … of a definition that stands for
// several workers. The definition's own name stays taken too: it is what
// builders name them all by.
func (g *global) instances(seen map[string]*object, o *object, w Worker) {
	if w.EC2.Instances <= 1 || w.Name == "" {
		return
	}
	for i := range w.EC2.Instances {
		g.unique(seen, o, "worker", fmt.Sprintf("%s-%d", w.Name, i+1))
	}
	a := arguments{g.r, o}
	longest := fmt.Sprintf("%s-%d", w.Name, w.EC2.Instances)
	if utf8.RuneCountInString(longest) > maxWorkerName && utf8.RuneCountInString(w.Name) <= maxWorkerName {
		a.errorf("name", "", "with instances=%d, the name %s is longer than %d characters", w.EC2.Instances, quote(longest), maxWorkerName)
	}
}

// shared warns of an address or a volume that two workers are given: one of
// them cannot start while the other has it.
func (g *global) shared(held map[string]*object, o *object, e *EC2LatentWorker) {
	things := map[string]string{e.ElasticIP: "elastic_ip"}
	for _, v := range e.Volumes {
		things[v.ID] = "volumes"
	}
	for _, thing := range sortedKeys(things) {
		first := held[thing]
		held[thing] = o
		if thing != "" && first != nil && first != o {
			g.r.warnf(arguments{g.r, o}.at(things[thing]), "", "%s: the worker on line %d has %s, too: only one of them can run at a time",
				o.class.name, first.at.Line, quote(thing))
		}
	}
}

// unique reports a name that another object of its kind has.
func (g *global) unique(seen map[string]*object, o *object, kind, name string) {
	if name == "" {
		return
	}
	if first := seen[name]; first != nil && first != o {
		a := arguments{g.r, o}
		g.r.errorf(a.at("name"), "", "there is another %s %s, on line %d", kind, quote(name), first.at.Line)
		return
	}
	seen[name] = o
}

func (g *global) builders(m *Master) {
	workers := make([]string, 0, len(m.Workers))
	used := make(map[string]bool, len(m.Workers))
	for _, w := range m.Workers {
		workers = append(workers, w.Name)
	}
	known := make(map[string]bool, len(workers))
	for _, w := range workers {
		known[w] = true
	}
	seen, dirs := make(map[string]*object), make(map[string]*object)
	g.list("builders", "util.BuilderConfig", func(o *object, v any) bool {
		b, ok := v.(*builder)
		if !ok {
			return false
		}
		b.Builder.CollapseRequests = m.CollapseRequests
		b.Builder.MaxRetries = m.MaxRetries
		if b.retries != nil {
			b.Builder.MaxRetries = *b.retries
		}
		by := g.collapseBy
		if b.collapse != nil {
			b.Builder.CollapseRequests, by = *b.collapse, b.collapseBy
		}
		if by != nil {
			b.Choose.Collapse = by(b.Name)
		}
		m.Builders = append(m.Builders, b.Builder)
		g.unique(seen, o, "builder", b.Name)
		g.uniqueDir(dirs, b)
		for _, name := range b.WorkerNames {
			used[name] = true
			if !known[name] {
				g.r.errorf(b.workerAt(g.r, name), workerHint(name, m.Workers, workers), "builder %s: there is no worker %s", quote(b.Name), quote(name))
			}
		}
		return true
	})
	if f, ok := g.some("builders"); !ok || starlark.Len(f.v) == 0 {
		g.r.warnf(g.at("builders"), "", "no builders are configured: nothing can be built")
		return
	}
	for _, o := range g.r.objects {
		if w, ok := g.r.value(o).(Worker); ok && g.listed[o] && w.Name != "" && !used[w.Name] {
			g.r.warnf(o.at, "", "no builder uses the worker %s", quote(w.Name))
		}
	}
}

// workerHint says what to name instead of a worker that there is not.
func workerHint(name string, defined []Worker, names []string) string {
	for _, w := range defined {
		if number, ok := strings.CutPrefix(name, w.Name+"-"); ok && w.EC2 != nil && w.EC2.Instances > 1 {
			if n, err := strconv.Atoi(number); err == nil && n >= 1 && n <= w.EC2.Instances {
				return "builders name all workers of a definition by its own name, " + w.Name
			}
		}
	}
	return dialect.DidYouMean(name, names)
}

// uniqueDir refuses a directory that another builder works in, unless the two
// have the same name, which has been said.
func (g *global) uniqueDir(dirs map[string]*object, b *builder) {
	first := dirs[b.BuildDir]
	if b.Name == "" || first == nil {
		dirs[b.BuildDir] = b.o
		return
	}
	other, _ := g.r.value(first).(*builder)
	if other.Name == b.Name || first == b.o {
		return
	}
	a := arguments{g.r, b.o}
	arg := "name"
	for _, name := range []string{"builddir", "workerbuilddir"} {
		if a.given(name) {
			arg = name
		}
	}
	a.errorf(arg, "give one of them another builddir", "the builders %s and %s have the same directory %s", quote(other.Name), quote(b.Name), quote(b.BuildDir))
}

// workerAt is where a builder names a worker.
func (b *builder) workerAt(r *reader, name string) dialect.Place {
	for _, arg := range []string{"workernames", "workername"} {
		if at, ok := textAt(r, b.o, arg, name); ok {
			return at
		}
	}
	return b.o.at
}

// textAt is where an argument that is a string or a list of strings has text.
func textAt(r *reader, o *object, arg, text string) (dialect.Place, bool) {
	f, ok := arguments{r, o}.some(arg)
	if !ok {
		return dialect.Place{}, false
	}
	if f.v == starlark.String(text) {
		return f.at, true
	}
	seq, ok := f.v.(starlark.Indexable)
	if !ok {
		return dialect.Place{}, false
	}
	for i := range seq.Len() {
		if seq.Index(i) == starlark.String(text) {
			return f.at.Item(i, seq.Len()), true
		}
	}
	return dialect.Place{}, false
}

func (g *global) schedulers(m *Master) {
	names := make([]string, 0, len(m.Builders))
	for _, b := range m.Builders {
		names = append(names, b.Name)
	}
	known := make(map[string]bool, len(names))
	for _, n := range names {
		known[n] = true
	}
	driven := make(map[string]bool)
	seen := make(map[string]*object)
	drives := func(o *object, scheduler string, builders []string) {
		g.unique(seen, o, "scheduler", scheduler)
		for _, name := range builders {
			driven[name] = true
			if !known[name] {
				at, _ := textAt(g.r, o, "builderNames", name)
				g.r.errorf(at, dialect.DidYouMean(name, names), "scheduler %s: there is no builder %s", quote(scheduler), quote(name))
			}
		}
	}
	g.list("schedulers", "schedulers", func(o *object, v any) bool {
		switch s := v.(type) {
		case *scheduler:
			m.ForceSchedulers = append(m.ForceSchedulers, s.ForceScheduler)
			drives(o, s.Name, s.BuilderNames)
		case *triggerable:
			m.Triggerables = append(m.Triggerables, s.Triggerable)
			drives(o, s.Name, s.BuilderNames)
		default:
			return false
		}
		return true
	})
	g.triggers(m)
	if len(g.r.errs) == 0 {
		g.circles(m)
	}
	for _, o := range g.r.objects {
		if b, ok := g.r.value(o).(*builder); ok && g.listed[o] && b.Name != "" && !driven[b.Name] {
			g.r.warnf(o.at, "name it in a scheduler's builderNames", "nothing starts builds of %s: no scheduler names it", quote(b.Name))
		}
	}
}

// triggers refuses steps that trigger what there is not.
func (g *global) triggers(m *Master) {
	var names []string
	for _, t := range m.Triggerables {
		names = append(names, t.Name)
	}
	for _, o := range g.r.objects {
		spec, ok := g.r.value(o).(dormouse.StepSpec)
		t, isTrigger := spec.Action.(dormouse.Trigger)
		if !ok || !isTrigger {
			continue
		}
		for _, v := range t.Schedulers {
			name, fixed := v.(string)
			if !fixed || name == "" || slices.Contains(names, name) {
				continue
			}
			at, _ := textAt(g.r, o, "schedulerNames", name)
			hint := dialect.DidYouMean(name, names)
			if len(names) == 0 {
				hint = "add schedulers.Triggerable(name=…, builderNames=[…]) to c['schedulers']"
			}
			g.r.errorf(at, hint, "%s: there is no Triggerable scheduler %s", o.class.name, quote(name))
		}
	}
}

// unused warns of what was made and then not used.
func (g *global) unused() {
	for _, o := range g.r.objects {
		if o.class.list != "" && !g.listed[o] {
			g.r.warnf(o.at, "", "%s is not in %s", o, g.entry(o.class.list))
		}
	}
}
