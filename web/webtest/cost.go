package webtest

import (
	"context"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// Cost implements web.Service.
func (m *Master) Cost(_ context.Context, q web.CostQuery) (dormouse.CostReport, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Now()
	sums := dormouse.NewCostSums(q.By, q.From, q.To, now)
	for _, i := range m.instances {
		sums.Add(m.usage(i))
	}
	return sums.Report(), m.fail
}

// usage is an instance with the builds that ran on it.
func (m *Master) usage(i dormouse.Instance) dormouse.Usage {
	u := dormouse.Usage{Instance: i}
	for _, b := range m.builds {
		if b.InstanceID != i.ID {
			continue
		}
		end := b.FinishedAt
		if end.IsZero() {
			end = m.Now()
		}
		u.Builds = append(u.Builds, dormouse.BuildTime{Builder: b.Builder, Day: dormouse.Day(b.StartedAt), Builds: 1, Time: end.Sub(b.StartedAt)})
	}
	return u
}

// priced gives a build its cost. The caller holds m.mu, here and in usage.
func (m *Master) priced(b dormouse.Build) dormouse.Build {
	for _, i := range m.instances {
		if i.ID == b.InstanceID {
			b.Cost = m.usage(i).CostOf(b, m.Now())
		}
	}
	return b
}
