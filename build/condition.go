package build

import (
	"errors"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// holds says whether a condition holds; def is what there is without one.
func (s *step) holds(what string, condition any, def bool) (bool, error) {
	if condition == nil {
		return def, nil
	}
	v, err := s.render(what, condition)
	if err != nil {
		return false, err
	}
	return expr.Truthy(v), nil
}

// lines makes log lines of texts, which may have several each.
func lines(texts []string) []dormouse.LogLine {
	now := time.Now()
	var out []dormouse.LogLine
	for _, text := range texts {
		for line := range strings.SplitSeq(text, "\n") {
			out = append(out, dormouse.LogLine{Time: now, Text: line})
		}
	}
	return out
}

// traceback are the calls that led to the failure of a function of the
// configuration, if that is what err is.
func traceback(err error) []string {
	var f *expr.FunctionError
	if errors.As(err, &f) {
		return f.Traceback
	}
	return nil
}
