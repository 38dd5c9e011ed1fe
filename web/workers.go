package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dormouse-ci/dormouse"
)

// StopWorkerRequest says how a worker is to be shut down.
type StopWorkerRequest struct {
	Fast bool `json:"fast,omitempty" doc:"At once, and not when its builds have ended"`
}

func (h *Handler) registerWorkers() {
	type workersOutput struct {
		Body struct {
			Workers []dormouse.WorkerStatus `json:"workers" nullable:"false"`
		}
	}
	huma.Register(h.api, operation("listWorkers", http.MethodGet, "/workers", "The configured workers and how they are", "workers"),
		func(ctx context.Context, _ *struct{}) (*workersOutput, error) {
			workers, err := h.service.Workers(ctx)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			out := &workersOutput{}
			out.Body.Workers = list(workers)
			return out, nil
		})

	type byName struct {
		Worker string `path:"worker" maxLength:"200"`
	}
	type workerOutput struct{ Body dormouse.WorkerStatus }
	huma.Register(h.api, operation("getWorker", http.MethodGet, "/workers/{worker}", "One worker", "workers"),
		func(ctx context.Context, in *byName) (*workerOutput, error) {
			workers, err := h.service.Workers(ctx)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			for _, w := range workers {
				if w.Name == in.Worker {
					return &workerOutput{Body: w}, nil
				}
			}
			return nil, newProblem(http.StatusNotFound, dormouse.NotFound, noSuch("worker", in.Worker))
		})
	pause := func(paused bool) func(context.Context, *byName) (*done, error) {
		return func(ctx context.Context, in *byName) (*done, error) {
			if err := h.service.PauseWorker(ctx, in.Worker, paused); err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &done{}, nil
		}
	}
	huma.Register(h.api, doing("pauseWorker", "/workers/{worker}/pause", "Give a worker no new builds", "workers"), pause(true))
	huma.Register(h.api, doing("unpauseWorker", "/workers/{worker}/unpause", "Give a worker builds again", "workers"), pause(false))

	huma.Register(h.api, doing("retryWorker", "/workers/{worker}/retry", "End a worker's quarantine, and try it again at once", "workers"),
		func(ctx context.Context, in *byName) (*done, error) {
			if err := h.service.RetryWorker(ctx, in.Worker); err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &done{}, nil
		})

	type stopInput struct {
		Worker string `path:"worker" maxLength:"200"`
		Body   StopWorkerRequest
	}
	huma.Register(h.api, doing("stopWorker", "/workers/{worker}/stop", "Shut a worker down", "workers"),
		func(ctx context.Context, in *stopInput) (*done, error) {
			if err := h.service.StopWorker(ctx, in.Worker, in.Body.Fast); err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &done{}, nil
		})

	type instancesInput struct {
		All bool `query:"all" doc:"Those that have ended, too"`
	}
	type instancesOutput struct {
		Body struct {
			Instances []dormouse.Instance `json:"instances" nullable:"false"`
		}
	}
	huma.Register(h.api, operation("listInstances", http.MethodGet, "/instances", "Instances that live, the newest first", "instances"),
		func(ctx context.Context, in *instancesInput) (*instancesOutput, error) {
			instances, err := h.service.Instances(ctx, in.All)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			out := &instancesOutput{}
			out.Body.Instances = list(instances)
			return out, nil
		})

	type leftoversOutput struct{ Body dormouse.LeftoverReport }
	leftovers := func(reap bool) func(context.Context, *struct{}) (*leftoversOutput, error) {
		return func(ctx context.Context, _ *struct{}) (*leftoversOutput, error) {
			report, err := h.service.Leftovers(ctx, reap)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &leftoversOutput{Body: report}, nil
		}
	}
	huma.Register(h.api, operation("listLeftovers", http.MethodGet, "/leftovers",
		"What was left behind in the accounts, and what the reaper would do about it", "instances"), leftovers(false))
	huma.Register(h.api, operation("reapLeftovers", http.MethodPost, "/leftovers/reap",
		"End what was left behind in the accounts", "instances"), leftovers(true))
}
