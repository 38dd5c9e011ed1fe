package dormouse

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// CostBy is what a cost report has a row for.
type CostBy string

// The groupings.
const (
	CostByDay     CostBy = "day"
	CostByBuilder CostBy = "builder"
	CostByWorker  CostBy = "worker"
)

// CostKind tells the rows of a report that stand for something else than a day,
// builder or worker.
type CostKind string

// The kinds of rows.
const (
	CostNamed CostKind = "named" // a day, builder or worker
	// CostNoBuild is what no build is charged for: instances on which none ran.
	CostNoBuild CostKind = "no_build"
	// CostUnknownPrice is instances whose price is not known: their cost is
	// missing everywhere else.
	CostUnknownPrice CostKind = "unknown_price"
	CostTotal        CostKind = "total"
)

// CostRow is a line of a report.
type CostRow struct {
	Kind CostKind `json:"kind"`
	// Name is the day (2006-01-02, in UTC), the builder or the worker.
	Name string `json:"name,omitempty"`
	// Instances are those that are billed in it. One that served two builders,
	// or ran over midnight, counts in both rows, and once in the total.
	Instances int `json:"instances"`
	// Hours are what EC2 bills, divided as the cost is.
	Hours float64 `json:"hours"`
	// Builds are those that started on its instances, by day on that day. They
	// are charged for an instance's whole cost, in proportion to their time.
	Builds int `json:"builds"`
	// USD is nil where it is not known.
	USD *float64 `json:"cost_usd,omitempty"`
}

// CostReport is what instances cost in [From, To), as far as is known now.
type CostReport struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	By   CostBy    `json:"by"`
	// Rows are in order of their names; after them come the rows of no build
	// and of unknown prices, where there are such.
	Rows []CostRow `json:"rows"`
	// Total is of all rows. Its cost is of the instances whose price is known;
	// its other numbers are of all.
	Total CostRow `json:"total"`
}

// CostSums adds up a [CostReport], instance by instance.
type CostSums struct {
	by            CostBy
	from, to, now time.Time
	named         map[string]*CostRow
	noBuild       CostRow
	unknown       CostRow
	total         CostRow
}

// NewCostSums begins a report of [from, to) as known at now. Both ends are
// needed.
func NewCostSums(by CostBy, from, to, now time.Time) *CostSums {
	return &CostSums{
		by: by, from: from, to: to, now: now, named: map[string]*CostRow{},
		noBuild: CostRow{Kind: CostNoBuild, USD: new(0.0)},
		unknown: CostRow{Kind: CostUnknownPrice},
		total:   CostRow{Kind: CostTotal, USD: new(0.0)},
	}
}

// Add adds an instance, which may reach beyond the range or lie outside it.
func (s *CostSums) Add(u Usage) {
	billed := u.Instance.Billed(s.from, s.to, s.now)
	free := s.free(u.Instance)
	if billed == 0 && !free {
		return
	}
	_, builds := u.total()
	usd, known := u.Instance.Cost(s.from, s.to, s.now)
	s.total.add(1, builds, billed.Hours(), usd)
	if !known {
		s.unknown.add(1, builds, billed.Hours(), 0)
		return
	}
	switch s.by {
	case CostByBuilder:
		s.addBuilders(u, billed.Hours(), usd)
	case CostByWorker:
		s.row(u.Instance.Worker).add(1, builds, billed.Hours(), usd)
	default:
		s.addDays(u)
	}
}

// free reports whether the instance ran within the range, and EC2 bills nothing for
// it: it counts, and costs nothing.
func (s *CostSums) free(i Instance) bool {
	start, end := i.ran(s.now)
	return i.ranFree(s.now) && start.Before(s.to) && end.After(s.from)
}

func (s *CostSums) addBuilders(u Usage, hours, usd float64) {
	if len(u.Builds) == 0 {
		s.noBuild.add(1, 0, hours, usd)
		return
	}
	seen := map[string]bool{}
	for _, b := range u.Builds {
		instances := 1
		if seen[b.Builder] {
			instances = 0
		}
		seen[b.Builder] = true
		part := u.share(b.Time, b.Builds)
		s.row(b.Builder).add(instances, b.Builds, hours*part, usd*part)
	}
}

func (s *CostSums) addDays(u Usage) {
	start, end := u.Instance.billed(s.now)
	if s.free(u.Instance) {
		start, end = u.Instance.ran(s.now)
	}
	if start.Before(s.from) {
		start = s.from
	}
	if end.After(s.to) {
		end = s.to
	}
	for day := Day(start); day.Before(end); day = day.AddDate(0, 0, 1) {
		from, to := day, day.AddDate(0, 0, 1)
		if from.Before(s.from) {
			from = s.from
		}
		if to.After(s.to) {
			to = s.to
		}
		usd, _ := u.Instance.Cost(from, to, s.now)
		s.row(day.Format(time.DateOnly)).add(1, 0, u.Instance.Billed(from, to, s.now).Hours(), usd)
	}
	for _, b := range u.Builds {
		// A day beyond the range has no row to be counted in.
		if r := s.named[b.Day.Format(time.DateOnly)]; r != nil {
			r.Builds += b.Builds
		}
	}
}

func (s *CostSums) row(name string) *CostRow {
	r := s.named[name]
	if r == nil {
		r = &CostRow{Kind: CostNamed, Name: name, USD: new(0.0)}
		s.named[name] = r
	}
	return r
}

func (r *CostRow) add(instances, builds int, hours, usd float64) {
	r.Instances += instances
	r.Builds += builds
	r.Hours += hours
	if r.USD != nil {
		*r.USD += usd
	}
}

// Report returns what has been added up. The sums must not be used after it.
func (s *CostSums) Report() CostReport {
	out := CostReport{From: s.from, To: s.to, By: s.by, Rows: []CostRow{}, Total: s.total}
	for _, r := range slices.SortedFunc(maps.Values(s.named), func(a, b *CostRow) int { return cmp.Compare(a.Name, b.Name) }) {
		out.Rows = append(out.Rows, *r)
	}
	for _, r := range []CostRow{s.noBuild, s.unknown} {
		if r.Instances > 0 {
			out.Rows = append(out.Rows, r)
		}
	}
	return out
}
