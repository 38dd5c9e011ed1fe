package storetest

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

func testArtifacts(t *testing.T, f *fixture) {
	ctx := t.Context()
	b := f.start(t, "docs")
	s := f.step(t, b.ID, 0)
	file := func(path string, bytes int64) dormouse.Artifact {
		return dormouse.Artifact{BuildID: b.ID, StepID: s.ID, Path: path, Bytes: bytes, SHA256: "00ff", CreatedAt: at(3)}
	}
	check(t, f.AddArtifacts(ctx, b.ID, nil))
	check(t, f.AddArtifacts(ctx, b.ID, []dormouse.Artifact{file("b/2", 2), file("a ☃", 0), file("b/1", 1<<40)}))
	check(t, f.AddArtifacts(ctx, b.ID, []dormouse.Artifact{file("b/1", 7)}))
	if newest, err := f.NewestArtifacts(ctx); err != nil || len(newest) != 1 || newest[0].BuildID != b.ID {
		t.Errorf("the newest is %+v, %v", newest, err)
	}
	got, err := f.Artifacts(ctx, b.ID, "", 0)
	check(t, err)
	same(t, "all", got, []dormouse.Artifact{file("a ☃", 0), file("b/1", 7), file("b/2", 2)})
	got, err = f.Artifacts(ctx, b.ID, "a ☃", 1)
	check(t, err)
	same(t, "a page", got, []dormouse.Artifact{file("b/1", 7)})
	one, err := f.Artifact(ctx, b.ID, "b/2")
	check(t, err)
	same(t, "one", one, file("b/2", 2))
	_, err = f.Artifact(ctx, b.ID, "b")
	refused(t, "an unknown artifact", err, dormouse.NotFound)
	_, err = f.Artifacts(ctx, b.ID+1000, "", 0)
	refused(t, "an unknown build", err, dormouse.NotFound)

	check(t, f.finish(ctx, b.ID, store.Ending{Result: dormouse.Success, StateString: "build successful", At: at(9)}))
	refused(t, "a build that has ended", f.AddArtifacts(ctx, b.ID, []dormouse.Artifact{file("late", 1)}), dormouse.Conflict)
	got, err = f.Artifacts(ctx, b.ID, "", 0)
	check(t, err)
	same(t, "afterwards", len(got), 3)
}

func testSubmitKey(t *testing.T, f *fixture) {
	ctx := t.Context()
	b := f.start(t, "all")
	child := func(builder, key string) dormouse.BuildRequest {
		return dormouse.BuildRequest{Builder: builder, ParentBuildID: b.ID, Key: key, SubmittedAt: at(4)}
	}
	first, err := f.SubmitRequests(ctx, []dormouse.BuildRequest{child("linux", "1.linux"), child("mac", "1.mac")})
	check(t, err)
	_, err = f.CancelRequest(ctx, first[1].ID, at(5))
	check(t, err)
	again, err := f.SubmitRequests(ctx, []dormouse.BuildRequest{child("linux", "1.linux"), child("mac", "1.mac"), child("linux", "")})
	check(t, err)
	same(t, "ids", ids(again)[:2], ids(first))
	same(t, "the second is as it is now", again[1].State, dormouse.RequestComplete)
	if again[2].ID == first[0].ID {
		t.Error("a request without a key was taken for another")
	}
	got, err := f.Requests(ctx, store.RequestFilter{Parent: b.ID})
	check(t, err)
	same(t, "those of the build", ids(got), []int64{again[2].ID, first[1].ID, first[0].ID})
}
