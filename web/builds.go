package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dormouse-ci/dormouse"
)

func (h *Handler) registerBuilds() {
	type listInput struct {
		Builder string `query:"builder" maxLength:"200"`
		Worker  string `query:"worker" maxLength:"200"`
		Running string `query:"running" enum:"true,false" doc:"Only those that run, or only those that do not"`
		Before  int64  `query:"before" minimum:"0" doc:"Only ids below this: the last one of the page before"`
		Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}
	type buildsOutput struct {
		Body struct {
			Builds []dormouse.Build `json:"builds" nullable:"false"`
		}
	}
	huma.Register(h.api, operation("listBuilds", http.MethodGet, "/builds", "Builds, the newest first", "builds"),
		func(ctx context.Context, in *listInput) (*buildsOutput, error) {
			q := BuildQuery{Builder: in.Builder, Worker: in.Worker, Before: in.Before, Limit: in.Limit}
			if in.Running != "" {
				q.Running = new(in.Running == "true")
			}
			builds, err := h.service.Builds(ctx, q)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			out := &buildsOutput{}
			out.Body.Builds = list(builds)
			return out, nil
		})

	type byID struct {
		ID int64 `path:"id" minimum:"1"`
	}
	type byNumber struct {
		Builder string `path:"builder" maxLength:"200"`
		Number  int    `path:"number" minimum:"1"`
	}
	type buildOutput struct{ Body dormouse.Build }
	huma.Register(h.api, operation("getBuild", http.MethodGet, "/builds/{id}", "One build", "builds"),
		func(ctx context.Context, in *byID) (*buildOutput, error) {
			b, err := h.service.Build(ctx, in.ID)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &buildOutput{Body: b}, nil
		})
	huma.Register(h.api, operation("getBuildByNumber", http.MethodGet, "/builders/{builder}/builds/{number}", "One build of a builder, by its number", "builds"),
		func(ctx context.Context, in *byNumber) (*buildOutput, error) {
			b, err := h.service.BuildByNumber(ctx, in.Builder, in.Number)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &buildOutput{Body: b}, nil
		})

	type stepsOutput struct {
		Body struct {
			Steps []dormouse.Step `json:"steps" nullable:"false"`
		}
	}
	huma.Register(h.api, operation("listSteps", http.MethodGet, "/builds/{id}/steps", "A build's steps, with their logs", "builds"),
		func(ctx context.Context, in *byID) (*stepsOutput, error) {
			steps, err := h.service.Steps(ctx, in.ID)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			out := &stepsOutput{}
			out.Body.Steps = list(steps)
			return out, nil
		})

	type stopInput struct {
		ID   int64 `path:"id" minimum:"1"`
		Body StopRequest
	}
	huma.Register(h.api, doing("stopBuild", "/builds/{id}/stop", "Interrupt a running build", "builds"),
		func(ctx context.Context, in *stopInput) (*done, error) {
			if err := h.service.StopBuild(ctx, in.ID, in.Body.Reason); err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &done{}, nil
		})
}

// StopRequest says why a build is to be stopped.
type StopRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"4000" doc:"Why, for the people who see the build"`
}
