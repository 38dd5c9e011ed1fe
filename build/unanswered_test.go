package build_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/google/go-cmp/cmp"
)

// forgetful is a store whose answer to one write is lost: the connection broke
// during the commit, which was carried out or not. Its next try finds that the
// store is away, for good measure.
type forgetful struct {
	mortal
	lose       int // the write, counted from 1
	carriedOut bool
}

func newForgetful(lose int, carriedOut bool) *forgetful {
	f := &forgetful{lose: lose, carriedOut: carriedOut}
	f.mortal.memory = &memory{}
	f.mortal.around = func(n int, carryOut func() error) error {
		switch n {
		case f.lose:
			if f.carriedOut {
				if err := carryOut(); err != nil {
					return err
				}
			}
			return dormouse.Errorf(dormouse.Unanswered, "the connection broke during the commit")
		case f.lose + 1:
			return dormouse.Errorf(dormouse.Unavailable, "the database restarts")
		}
		return carryOut()
	}
	return f
}

// TestAnswersAreLost loses the answer to each write of a build in turn: the build
// goes on, with every line once and every command run once.
func TestAnswersAreLost(t *testing.T) {
	t.Parallel()
	job := func(f *farm) build.Job {
		a := sh("a", "echo ran >>../../count; for i in 1 2 3; do echo $i; done; exit 1")
		a.HaltOnFailure = false
		j := f.job(a, sh("b", "echo ran >>../../count; echo x"))
		j.Resumable, j.Abandon = true, notAbandoned(t)
		return j
	}
	type result struct {
		Outcome build.Outcome
		Steps   []string
		Out     [2]string
		Ran     string
	}
	run := func(t *testing.T, m *forgetful) (result, int) {
		f, _ := newResumingFarm(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r := build.Runner{Store: m, Announce: m.announce, Log: slog.New(slog.DiscardHandler)}
		out := r.Run(ctx, job(f), nil)
		ran, err := os.ReadFile(filepath.Join(f.dir, "count"))
		if err != nil {
			t.Error(err)
		}
		return result{out, m.results(), [2]string{m.stdout(0), m.stdout(1)}, string(ran)}, m.writes
	}
	want, writes := run(t, newForgetful(0, false))
	if want.Outcome.Result != dormouse.Failure || want.Ran != "ran\nran\n" || want.Out != [2]string{"1\n2\n3\n", "x\n"} {
		t.Fatalf("undisturbed: %+v", want)
	}
	for n := 1; n <= writes; n++ {
		for _, carriedOut := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d,%v", n, carriedOut), func(t *testing.T) {
				t.Parallel()
				got, _ := run(t, newForgetful(n, carriedOut))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-undisturbed +got):\n%s", diff)
				}
			})
		}
	}
}
