package config

import (
	"maps"

	"github.com/dormouse-ci/dormouse"
)

var masterLockClass = register(&class{
	name: "util.MasterLock", positional: 2,
	params: []param{{name: "name", support: required}, {name: "maxCount"}},
	attrs:  map[string]method{"access": makes(accessClass)},
	read:   func(a arguments) any { return readLock(a, false) },
})

var workerLockClass = register(&class{
	name: "util.WorkerLock", positional: 3,
	params: []param{{name: "name", support: required}, {name: "maxCount"}, {name: "maxCountForWorker"}},
	attrs:  map[string]method{"access": makes(accessClass)},
	read:   func(a arguments) any { return readLock(a, true) },
})

// accessClass is what lock.access('exclusive') and lock.access('counting', count=n)
// make.
var accessClass = &class{
	name: "access", positional: 2,
	params: []param{{name: "mode", support: required}, {name: "count"}},
	read:   readAccess,
}

// readLock reads a lock. Two of one name must be the same: they would be taken for
// one.
func readLock(a arguments, perWorker bool) dormouse.Lock {
	l := dormouse.Lock{
		Name: a.requiredText("name"), PerWorker: perWorker, MaxCount: a.count("maxCount", 1),
	}
	if f, ok := a.some("maxCountForWorker"); ok {
		names, values := f.pairs()
		l.MaxCountForWorker = make(map[string]int, len(names))
		for _, name := range names {
			if n, ok := values[name].integer(1, maxLockCount); ok {
				l.MaxCountForWorker[name] = n
			}
		}
	}
	if before, ok := a.r.locks[l.Name]; ok && l.Name != "" {
		same := before.PerWorker == l.PerWorker && before.MaxCount == l.MaxCount && maps.Equal(before.MaxCountForWorker, l.MaxCountForWorker)
		if !same {
			a.errorf("name", "locks of one name are one lock", "there is another lock %s, which is not the same", quote(l.Name))
		}
	} else {
		a.r.locks[l.Name] = l
	}
	return l
}

// maxLockCount is as good as no limit.
const maxLockCount = 1_000_000

// readAccess reads a use of a lock.
func readAccess(a arguments) any {
	l, _ := a.r.value(a.o.of).(dormouse.Lock)
	out := dormouse.LockAccess{Lock: l, Count: a.count("count", 1)}
	switch mode := a.requiredText("mode"); mode {
	case "exclusive":
		out.Exclusive = true
		if a.given("count") {
			a.errorf("count", "", "an exclusive use has no count")
		}
	case "counting":
		most := l.MaxCount
		for _, n := range l.MaxCountForWorker {
			most = max(most, n)
		}
		if out.Count > most && l.MaxCount > 0 {
			a.errorf("count", "", "%d of lock %s can never be had: it has %d", out.Count, quote(l.Name), most)
		}
	case "":
	default:
		a.errorf("mode", "", "the mode must be 'exclusive' or 'counting', not %s", quote(mode))
	}
	return out
}

// readLockAccesses reads locks=[…]. A lock that stands there itself is used
// exclusively: the safer reading, where Buildbot counts it as one use.
func readLockAccesses(a arguments) []dormouse.LockAccess {
	f, ok := a.some("locks")
	if !ok {
		return nil
	}
	const allowed = "a list of locks, such as lock.access('counting')"
	items, ok := f.items(allowed)
	if !ok {
		return nil
	}
	var out []dormouse.LockAccess
	seen := map[string]bool{}
	for _, item := range items {
		o, _ := item.v.(*object)
		var use dormouse.LockAccess
		switch {
		case o != nil && (o.class == masterLockClass || o.class == workerLockClass):
			l, _ := a.r.value(o).(dormouse.Lock)
			use = dormouse.LockAccess{Lock: l, Exclusive: true, Count: 1}
		case o != nil && o.class == accessClass:
			use, _ = a.r.value(o).(dormouse.LockAccess)
		default:
			item.bad("made by util.MasterLock or util.WorkerLock, or its method access")
			continue
		}
		if seen[use.Lock.Name] {
			a.r.errorf(item.at, "", "%s: lock %s stands there twice", f.label, quote(use.Lock.Name))
		}
		seen[use.Lock.Name] = true
		out = append(out, use)
	}
	return out
}
