package store_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

// TestTwice: only a lost answer has a write tried again, and once.
func TestTwice(t *testing.T) {
	t.Parallel()
	full := dormouse.Errorf(dormouse.Unavailable, "the disk is full")
	broke := dormouse.Errorf(dormouse.Unanswered, "the connection broke during the commit")
	taken := dormouse.Errorf(dormouse.Conflict, "%w", store.ErrSuperseded)
	for name, c := range map[string]struct {
		answers []error
		code    dormouse.Code
		tries   int
	}{
		"done":                 {answers: []error{nil}, tries: 1},
		"unavailable":          {answers: []error{full}, code: dormouse.Unavailable, tries: 1},
		"lost, then done":      {answers: []error{broke, nil}, tries: 2},
		"lost, then a refusal": {answers: []error{broke, taken}, code: dormouse.Conflict, tries: 2},
		"lost, then away":      {answers: []error{broke, full}, code: dormouse.Unanswered, tries: 2},
		"lost twice":           {answers: []error{broke, broke}, code: dormouse.Unanswered, tries: 2},
	} {
		tries := 0
		err := new(store.Owner).Twice(func() error { tries++; return c.answers[tries-1] })
		if dormouse.CodeOf(err) != c.code || tries != c.tries {
			t.Errorf("%s: %v after %d tries", name, err, tries)
		}
	}
}

// TestUntil: what ends the tries of a write, and how long they go on.
func TestUntil(t *testing.T) {
	t.Parallel()
	full := dormouse.Errorf(dormouse.Unavailable, "the disk is full")
	broke := dormouse.Errorf(dormouse.Unanswered, "the connection broke during the commit")
	cancelled := dormouse.Errorf(dormouse.Unavailable, "the write was not carried out: %w", context.Canceled)
	taken := dormouse.Errorf(dormouse.Conflict, "%w", store.ErrSuperseded)
	corrupt := errors.New("the log is corrupt")
	for name, c := range map[string]struct {
		answers []error // of the tries; then they go on with the last
		ends    time.Duration
		want    error
		code    dormouse.Code
		tries   int
		took    time.Duration
	}{
		"at once":                    {answers: []error{nil}, tries: 1},
		"once there is room":         {answers: []error{full, broke, full, nil}, tries: 4, took: 700 * time.Millisecond},
		"a conflict":                 {answers: []error{full, taken}, want: store.ErrSuperseded, code: dormouse.Conflict, tries: 2, took: 100 * time.Millisecond},
		"an answer":                  {answers: []error{corrupt}, want: corrupt, code: dormouse.Internal, tries: 1},
		"the end":                    {answers: []error{full}, ends: time.Minute, want: full, code: dormouse.Unavailable, tries: 18, took: time.Minute},
		"the end, with room":         {answers: []error{full, nil}, ends: time.Millisecond, tries: 2, took: time.Millisecond},
		"the end, in the write too":  {answers: []error{full, cancelled}, ends: time.Millisecond, want: full, code: dormouse.Unavailable, tries: 2, took: time.Millisecond},
		"the end, after a lost one":  {answers: []error{broke, full}, ends: time.Millisecond, want: full, code: dormouse.Unanswered, tries: 2, took: time.Millisecond},
		"the end, before the first":  {answers: []error{cancelled}, ends: -1, want: context.Canceled, code: dormouse.Unavailable, tries: 1},
		"not found, after a restart": {answers: []error{full, dormouse.Errorf(dormouse.NotFound, "gone")}, code: dormouse.NotFound, tries: 2, took: 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				switch {
				case c.ends < 0:
					cancel()
				case c.ends > 0:
					time.AfterFunc(c.ends, cancel)
				}
				var owner store.Owner
				owner.SetLogger(slog.New(slog.DiscardHandler))
				tries, start := 0, time.Now()
				err := owner.Until(ctx, "a write", func() error {
					tries++
					return c.answers[min(tries, len(c.answers))-1]
				})
				if dormouse.CodeOf(err) != c.code || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("%v (%s)", err, dormouse.CodeOf(err))
				}
				if took := time.Since(start); tries != c.tries || took != c.took {
					t.Errorf("%d tries in %v", tries, took)
				}
			})
		})
	}
}
