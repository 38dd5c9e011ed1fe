package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dormouse-ci/dormouse"
)

func (h *Handler) registerMaster() {
	type masterOutput struct{ Body MasterInfo }
	huma.Register(h.api, operation("getMaster", http.MethodGet, "/master", "Which master this is", "master"),
		func(context.Context, *struct{}) (*masterOutput, error) {
			return &masterOutput{Body: h.service.Info()}, nil
		})

	type buildersOutput struct {
		Body struct {
			Builders []BuilderInfo `json:"builders" nullable:"false"`
		}
	}
	huma.Register(h.api, operation("listBuilders", http.MethodGet, "/builders", "The configured builders", "builders"),
		func(context.Context, *struct{}) (*buildersOutput, error) {
			out := &buildersOutput{}
			out.Body.Builders = list(h.service.Builders())
			return out, nil
		})

	type builderInput struct {
		Builder string `path:"builder" maxLength:"200"`
	}
	type builderOutput struct{ Body BuilderInfo }
	huma.Register(h.api, operation("getBuilder", http.MethodGet, "/builders/{builder}", "One builder", "builders"),
		func(_ context.Context, in *builderInput) (*builderOutput, error) {
			for _, b := range h.service.Builders() {
				if b.Name == in.Builder {
					return &builderOutput{Body: b}, nil
				}
			}
			return nil, newProblem(http.StatusNotFound, dormouse.NotFound, noSuch("builder", in.Builder))
		})

	type forceInput struct {
		Builder string `path:"builder" maxLength:"200"`
		Body    ForceRequest
	}
	force := operation("forceBuild", http.MethodPost, "/builders/{builder}/force", "Make build requests by hand", "builders")
	force.DefaultStatus = http.StatusCreated
	huma.Register(h.api, force, func(ctx context.Context, in *forceInput) (*requestsOutput, error) {
		in.Body.Builder = in.Builder
		in.Body.Count = max(in.Body.Count, 1)
		reqs, err := h.service.Force(ctx, in.Body)
		if err != nil {
			return nil, problemOf(ctx, h.log, err)
		}
		out := &requestsOutput{}
		out.Body.Requests = list(reqs)
		return out, nil
	})
}
