package master

import (
	"context"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// Cost implements web.Service.
func (m *Master) Cost(ctx context.Context, q web.CostQuery) (dormouse.CostReport, error) {
	now := time.Now()
	sums := dormouse.NewCostSums(q.By, q.From, q.To, now)
	err := m.db.Usage(ctx, q.From, q.To, now, func(u dormouse.Usage) error {
		sums.Add(u)
		return nil
	})
	if err != nil {
		return dormouse.CostReport{}, err
	}
	return sums.Report(), nil
}

// priced gives builds their costs, as far as they are known, and how many tries
// they may have.
func (m *Master) priced(ctx context.Context, builds ...dormouse.Build) ([]dormouse.Build, error) {
	var ids []string
	for _, b := range builds {
		if b.InstanceID != "" {
			ids = append(ids, b.InstanceID)
		}
	}
	slices.Sort(ids)
	now := time.Now()
	usage, err := m.db.UsageOf(ctx, slices.Compact(ids), now)
	if err != nil {
		return nil, err
	}
	for i := range builds {
		builds[i].MaxTries = m.maxTries(builds[i].Builder)
		if u, ok := usage[builds[i].InstanceID]; ok {
			builds[i].Cost = u.CostOf(builds[i], now)
		}
	}
	return builds, nil
}

func (m *Master) pricedOne(ctx context.Context, b dormouse.Build) (dormouse.Build, error) {
	builds, err := m.priced(ctx, b)
	if err != nil {
		return dormouse.Build{}, err
	}
	return builds[0], nil
}

// spentToday returns what instances have cost since midnight UTC, in US
// dollars. What is of unknown price is not in it: while such an instance lives,
// the budget admits nothing.
func (m *Master) spentToday(ctx context.Context) (float64, error) {
	now := time.Now()
	from := dormouse.Day(now)
	sum := 0.0
	err := m.db.InstancesBetween(ctx, from, now, func(i dormouse.Instance) error {
		until := now
		if !i.Runs() {
			until = from.AddDate(0, 0, 1) // of what has just ended, the least that is billed
		}
		usd, _ := i.Cost(from, until, now)
		sum += usd
		return nil
	})
	return sum, err
}
