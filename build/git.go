package build

import (
	"context"

	"github.com/dormouse-ci/dormouse"
)

type gitAction struct{ dormouse.Git }

func (gitAction) defaultName() string { return "git" }

func (a gitAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	return dormouse.Exception, nil
}
