package web

import (
	"maps"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// prefix is where the API stands. A change that breaks its callers gets a new
// one beside it.
const prefix = "/api/v1"

// register adds every call to the API.
func (h *Handler) register() {
	// The shape of errors is in every operation by reference.
	h.api.OpenAPI().Components.Schemas.Schema(problemGoType, true, "Problem")
	h.registerMaster()
	h.registerRequests()
	h.registerBuilds()
	h.registerArtifacts()
	h.registerLogs()
	h.registerWorkers()
	h.registerCost()
	h.registerEvents()
}

// operation describes a call; id is its name in clients that are generated
// from the description.
func operation(id, method, path, summary, tag string) huma.Operation {
	return huma.Operation{
		OperationID: id,
		Method:      method,
		Path:        prefix + path,
		Summary:     summary,
		Tags:        []string{tag},
		Responses: map[string]*huma.Response{"default": {
			Description: "What went wrong",
			Content: map[string]*huma.MediaType{
				problemType: {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}},
			},
		}},
	}
}

// streamResponses adds the answer of a stream.
func streamResponses(others map[string]*huma.Response, description string) map[string]*huma.Response {
	out := maps.Clone(others)
	out["200"] = &huma.Response{
		Description: description,
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}},
	}
	return out
}

// done is the answer of a call that has nothing to say.
type done struct{}

// doing describes a call that changes something and has nothing to say.
func doing(id, path, summary, tag string) huma.Operation {
	op := operation(id, http.MethodPost, path, summary, tag)
	op.DefaultStatus = http.StatusNoContent
	return op
}
