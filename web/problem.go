package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dormouse-ci/dormouse"
)

// Problem is the body of every error answer, as RFC 9457 has it, with a code.
type Problem struct {
	Status int           `json:"status" doc:"The HTTP status"`
	Title  string        `json:"title" doc:"What the status is called"`
	Code   dormouse.Code `json:"code" doc:"The class of the error, for machines" example:"not_found"`
	Detail string        `json:"detail" doc:"What failed, on which object, and what to do; for people"`
	Errors []FieldError  `json:"errors,omitempty" nullable:"false" doc:"The mistakes in the request, one by one"`
}

// FieldError is one mistake in a request. It does not repeat the value, which
// may be a secret.
type FieldError struct {
	Location string `json:"location,omitempty" doc:"Where, as in body.count or query.limit"`
	Message  string `json:"message"`
}

// problemGoType is what the description of the API is made from.
var problemGoType = reflect.TypeFor[Problem]()

// problemType is the content type of a [Problem].
const problemType = "application/problem+json"

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus tells huma the status to answer with.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType tells huma the type to answer with.
func (p *Problem) ContentType(string) string { return problemType }

// statusOf is the HTTP status of each class of error. A class that concerns
// the master's own dealings with EC2 is no fault of the caller.
func statusOf(code dormouse.Code) int {
	switch code {
	case dormouse.Invalid:
		return http.StatusUnprocessableEntity
	case dormouse.NotFound:
		return http.StatusNotFound
	case dormouse.Conflict:
		return http.StatusConflict
	case dormouse.Unauthorized:
		return http.StatusForbidden
	case dormouse.Throttled:
		return http.StatusTooManyRequests
	case dormouse.Unavailable, dormouse.Capacity, dormouse.Quota, dormouse.Budget:
		return http.StatusServiceUnavailable
	case dormouse.Configuration, dormouse.Unanswered:
		return http.StatusBadGateway
	default:
		return http.StatusInternalServerError
	}
}

// codeOf is the class of an answer that has only a status.
func codeOf(status int) dormouse.Code {
	switch {
	case status == http.StatusNotFound:
		return dormouse.NotFound
	case status == http.StatusConflict:
		return dormouse.Conflict
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return dormouse.Unauthorized
	case status == http.StatusTooManyRequests:
		return dormouse.Throttled
	case status == http.StatusServiceUnavailable:
		return dormouse.Unavailable
	case status >= 400 && status < 500:
		return dormouse.Invalid
	default:
		return dormouse.Internal
	}
}

func newProblem(status int, code dormouse.Code, detail string) *Problem {
	return &Problem{Status: status, Title: http.StatusText(status), Code: code, Detail: detail}
}

// problemOf makes the answer to an error of the service. The text of an
// internal error stays in the log, where the reference finds it.
func problemOf(ctx context.Context, log *slog.Logger, err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return newProblem(http.StatusServiceUnavailable, dormouse.Unavailable, "the request was given up before it was answered")
	}
	code := dormouse.CodeOf(err)
	status := statusOf(code)
	if status == http.StatusInternalServerError {
		ref := rand.Text()[:8]
		log.ErrorContext(ctx, "a request failed", "error", err, "reference", ref)
		return newProblem(status, dormouse.Internal, "the master could not do this; its log says why, under reference "+ref)
	}
	return newProblem(status, code, err.Error())
}

// asProblem turns huma's own errors, which are about the form of a request,
// into problems with a code.
func asProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := newProblem(m.Status, codeOf(m.Status), m.Detail)
	for _, e := range m.Errors {
		p.Errors = append(p.Errors, FieldError{Location: e.Location, Message: e.Message})
	}
	return p, nil
}

// writeProblem answers with a problem where huma is not in charge.
func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	// The status is out, and who does not read the body has hung up.
	_ = json.NewEncoder(w).Encode(p)
}
