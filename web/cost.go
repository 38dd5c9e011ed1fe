package web

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dormouse-ci/dormouse"
)

// maxCostRange is the longest range of a cost report: a leap year, so that any
// year can be asked for, and no answer is unbounded.
const maxCostRange = 366 * 24 * time.Hour

func (h *Handler) registerCost() {
	type costInput struct {
		By   dormouse.CostBy `query:"by" enum:"day,builder,worker" default:"day" doc:"What the rows are"`
		From string          `query:"from" maxLength:"40" doc:"The first moment: a day (2006-01-02, which begins at midnight UTC) or an RFC 3339 time. Without it, the start of the month before the end"`
		To   string          `query:"to" maxLength:"40" doc:"The end, which is not included: a day or a time. Without it, now"`
	}
	type costOutput struct{ Body dormouse.CostReport }
	huma.Register(h.api, operation("getCost", http.MethodGet, "/cost", "What instances cost, by day, builder or worker; at most a year", "instances"),
		func(ctx context.Context, in *costInput) (*costOutput, error) {
			q, err := costQuery(in.By, in.From, in.To, time.Now())
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			r, err := h.service.Cost(ctx, q)
			if err != nil {
				return nil, problemOf(ctx, h.log, err)
			}
			return &costOutput{Body: r}, nil
		})
}

// costQuery reads the range of a report and fills in what was left out.
func costQuery(by dormouse.CostBy, from, to string, now time.Time) (q CostQuery, err error) {
	q = CostQuery{By: by, To: now.UTC()}
	if to != "" {
		if q.To, err = costTime("to", to); err != nil {
			return q, err
		}
	}
	// Of the last moment that is included, so that up to the first of a month
	// is the month before.
	y, m, _ := q.To.Add(-1).Date()
	q.From = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	if from != "" {
		if q.From, err = costTime("from", from); err != nil {
			return q, err
		}
	}
	switch {
	case !q.From.Before(q.To):
		return q, dormouse.Errorf(dormouse.Invalid, "the range of a cost report ends (%s) before it begins (%s)",
			q.To.Format(time.RFC3339), q.From.Format(time.RFC3339))
	case q.To.Sub(q.From) > maxCostRange:
		return q, dormouse.Errorf(dormouse.Invalid, "a cost report covers a year at most: ask for one year after the other")
	}
	return q, nil
}

// costTime reads a day or a time. Years are such as the store can hold.
func costTime(name, text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		t, err := time.Parse(layout, text)
		if err == nil && t.Year() >= 1970 && t.Year() <= 9999 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, dormouse.Errorf(dormouse.Invalid, "%s is %q: a day such as 2026-03-01, or a time such as 2026-03-01T15:04:05Z, was expected", name, text)
}
