package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dormouse-ci/dormouse"
)

type requestsOutput struct {
	Body struct {
		Requests []dormouse.BuildRequest `json:"buildrequests" nullable:"false"`
	}
}

func (h *Handler) registerRequests() {
	type listInput struct {
		Builder string `query:"builder" maxLength:"200"`
		State   string `query:"state" enum:"pending,claimed,complete"`
		Parent  int64  `query:"parent" minimum:"0" doc:"Only those that the build with this id has triggered"`
		Before  int64  `query:"before" minimum:"0" doc:"Only ids below this: the last one of the page before"`
		Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}
	huma.Register(h.api, operation("listBuildRequests", http.MethodGet, "/buildrequests", "Build requests, the newest first", "buildrequests"),
		func(ctx context.Context, in *listInput) (*requestsOutput, error) {
			reqs, err := h.service.Requests(ctx, RequestQuery{
				Builder: in.Builder, State: dormouse.RequestState(in.State), Parent: in.Parent, Before: in.Before, Limit: in.Limit,
			})
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			out := &requestsOutput{}
			out.Body.Requests = list(reqs)
			return out, nil
		})

	type byID struct {
		ID int64 `path:"id" minimum:"1"`
	}
	type requestOutput struct{ Body dormouse.BuildRequest }
	huma.Register(h.api, operation("getBuildRequest", http.MethodGet, "/buildrequests/{id}", "One build request, with why it waits", "buildrequests"),
		func(ctx context.Context, in *byID) (*requestOutput, error) {
			r, err := h.service.Request(ctx, in.ID)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &requestOutput{Body: r}, nil
		})
	type storyOutput struct{ Body dormouse.Story }
	huma.Register(h.api, operation("getBuildRequestStory", http.MethodGet, "/buildrequests/{id}/story",
		"Why a build request waits: what was tried for it on each worker, and what EC2 answered", "buildrequests"),
		func(ctx context.Context, in *byID) (*storyOutput, error) {
			s, err := h.service.Story(ctx, in.ID)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			s.Workers = list(s.Workers)
			return &storyOutput{Body: s}, nil
		})
	huma.Register(h.api, doing("cancelBuildRequest", "/buildrequests/{id}/cancel", "Cancel a build request and stop its build", "buildrequests"),
		func(ctx context.Context, in *byID) (*done, error) {
			if err := h.service.CancelRequest(ctx, in.ID); err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &done{}, nil
		})
}

// list makes an empty list [] and not null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

func noSuch(what, name string) string { return "there is no " + what + " named \"" + name + "\"" }
