package web

import (
	"context"
	"mime"
	"net/http"
	"path"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/listen"
)

func (h *Handler) registerArtifacts() {
	type listInput struct {
		ID    int64  `path:"id" minimum:"1"`
		After string `query:"after" maxLength:"4096" doc:"Only paths behind this one: the last of the page before"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"1000"`
	}
	type listOutput struct {
		Body struct {
			Artifacts []dormouse.Artifact `json:"artifacts" nullable:"false"`
		}
	}
	huma.Register(h.api, operation("listArtifacts", http.MethodGet, "/builds/{id}/artifacts", "The files that a build has kept, by path", "builds"),
		func(ctx context.Context, in *listInput) (*listOutput, error) {
			artifacts, err := h.service.Artifacts(ctx, in.ID, in.After, in.Limit)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			out := &listOutput{}
			out.Body.Artifacts = list(artifacts)
			return out, nil
		})

	type rawInput struct {
		ID   int64  `path:"id" minimum:"1"`
		Path string `query:"path" required:"true" maxLength:"4096"`
	}
	raw := operation("getArtifact", http.MethodGet, "/builds/{id}/artifacts/raw", "One file that a build has kept; ranges are understood, and the ETag is its SHA-256", "builds")
	raw.Responses["200"] = &huma.Response{
		Description: "The file",
		Content:     map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	huma.Register(h.api, raw, func(ctx context.Context, in *rawInput) (*huma.StreamResponse, error) {
		a, f, err := h.service.OpenArtifact(ctx, in.ID, in.Path)
		if err != nil {
			return nil, problemOf(ctx, h.log, err)
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			defer f.Close()
			r, w := humago.Unwrap(hctx)
			// A build's files may hold anything, also a page that would act with the
			// rights of who looks at it: it is saved, and never shown from here.
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(a.Path)}))
			w.Header().Set("ETag", `"`+a.SHA256+`"`)
			http.ServeContent(listen.Patient(w), r, "", a.CreatedAt, f)
		}}, nil
	})
}
