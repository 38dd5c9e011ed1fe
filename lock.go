package dormouse

import "fmt"

// Lock is something that only so many builds may use at a time; Buildbot's
// MasterLock, or, with PerWorker, its WorkerLock: one on each worker.
type Lock struct {
	Name      string
	PerWorker bool
	// MaxCount is how many counting uses there may be at a time, at least 1;
	// MaxCountForWorker overrides it on the workers it names.
	MaxCount          int
	MaxCountForWorker map[string]int
}

// On returns what is locked when the lock is used on a worker, and how many
// counting uses of it there may be.
func (l Lock) On(worker string) (what string, most int) {
	if !l.PerWorker {
		return "lock " + l.Name, l.MaxCount
	}
	what, most = fmt.Sprintf("lock %s of worker %s", l.Name, worker), l.MaxCount
	if n, ok := l.MaxCountForWorker[worker]; ok {
		most = n
	}
	return what, most
}

// LockAccess is a use of a lock: exclusive, with no other beside it, or counting
// for Count of its uses.
type LockAccess struct {
	Lock      Lock
	Exclusive bool
	Count     int // at least 1; of a counting use
}
