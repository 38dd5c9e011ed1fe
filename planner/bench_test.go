package planner_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/planner"
)

// large makes a farm: every builder may use every worker, or a window of them.
func large(requests, builders, workers, window int, worker func(i int) planner.Worker) planner.Input {
	var in planner.Input
	for i := range workers {
		w := worker(i)
		w.Name = fmt.Sprintf("w%d", i)
		in.Workers = append(in.Workers, w)
	}
	for i := range builders {
		b := planner.Builder{Name: fmt.Sprintf("b%d", i), CollapseRequests: true}
		for j := range window {
			b.WorkerNames = append(b.WorkerNames, in.Workers[(i*7+j)%workers].Name)
		}
		in.Builders = append(in.Builders, b)
	}
	for i := range requests {
		in.Requests = append(in.Requests, planner.Request{
			ID: int64(i + 1), Builder: in.Builders[(i*i)%builders].Name, SubmittedAt: epoch.Add(time.Duration(i%977) * time.Second),
			Sources:    []dormouse.SourceStamp{{Repository: "https://example.org/r.git", Revision: fmt.Sprintf("%040d", i)}},
			Properties: dormouse.Properties{"scheduler": {Value: "all", Source: "Scheduler"}},
		})
	}
	return in
}

func BenchmarkPlan(b *testing.B) {
	kinds := map[string]func(i int) planner.Worker{
		"startable": func(int) planner.Worker { return planner.Worker{Latent: true, Startable: true, MaxBuilds: 1} },
		"ready":     func(int) planner.Worker { return planner.Worker{Ready: true, MaxBuilds: 1} },
		"unlimited": func(int) planner.Worker {
			return planner.Worker{Ready: true, Builds: 1, RunningBuilders: []string{"other"}}
		},
		"mixed": func(i int) planner.Worker {
			return planner.Worker{Latent: true, Ready: i%3 == 0, Starting: i%3 == 1, Startable: i%3 == 2, MaxBuilds: 1 + i%2}
		},
	}
	for _, kind := range []string{"startable", "ready", "unlimited", "mixed"} {
		for _, window := range []int{20, 1000} {
			b.Run(fmt.Sprintf("%s/eligible=%d", kind, window), func(b *testing.B) {
				in := large(10_000, 100, 1000, window, kinds[kind])
				b.ReportAllocs()
				for b.Loop() {
					planner.Plan(in)
				}
			})
		}
	}
}

// BenchmarkPlanLocks: builders that share a lock, or have one on each worker, with
// builds that hold some and wait for requests.
func BenchmarkPlanLocks(b *testing.B) {
	for name, lock := range map[string]dormouse.LockAccess{
		"master":    {Lock: dormouse.Lock{Name: "l", MaxCount: 300}, Count: 1},
		"exclusive": {Lock: dormouse.Lock{Name: "l", MaxCount: 1}, Exclusive: true},
		"worker":    {Lock: dormouse.Lock{Name: "l", PerWorker: true, MaxCount: 1}, Exclusive: true},
	} {
		b.Run(name, func(b *testing.B) {
			in := large(10_000, 100, 1000, 1000, func(i int) planner.Worker {
				w := planner.Worker{Latent: true, Ready: i%2 == 0, Startable: i%2 == 1, MaxBuilds: 1}
				if i%4 == 0 {
					w.Builds, w.RunningBuilders = 1, []string{"other"}
				}
				return w
			})
			for i := range in.Builders {
				in.Builders[i].Locks = []dormouse.LockAccess{lock}
			}
			for i := range 100 {
				in.Holders = append(in.Holders, planner.Holder{
					Build: fmt.Sprintf("build other/%d", i), Builder: "other", Request: int64(100_000 + i), Worker: in.Workers[4*i].Name, WaitsFor: []int64{int64(i + 1), int64(i + 500)},
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				planner.Plan(in)
			}
		})
	}
}
