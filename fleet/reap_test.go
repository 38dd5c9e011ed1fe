package fleet

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

func tagsOf(worker, generation, launch string) map[string]string {
	return map[string]string{
		dormouse.TagDeployment: "d", dormouse.TagWorker: worker, dormouse.TagGeneration: generation, dormouse.TagLaunch: launch,
	}
}

// TestLeftovers: what is judged to be left behind, and what is done about it.
func TestLeftovers(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	old, young := now.Add(-time.Hour), now.Add(-20*time.Second)
	instances := []dormouse.CloudInstance{
		{ID: "i-live", State: dormouse.InstanceRunning, LaunchTime: old, Tags: tagsOf("bot1", "1", "l1")},
		{ID: "i-stray", State: dormouse.InstanceRunning, LaunchTime: old, Tags: tagsOf("bot9", "4", "l2")},
		{ID: "i-young", State: dormouse.InstancePending, LaunchTime: young, Tags: tagsOf("bot8", "1", "l3")},
		{ID: "i-ordered", State: dormouse.InstanceRunning, LaunchTime: old, Tags: tagsOf("bot7", "2", "l4")},
		{ID: "i-dying", State: dormouse.InstanceShuttingDown, LaunchTime: old, Tags: tagsOf("bot6", "2", "l5")},
		{ID: "i-stopped", State: dormouse.InstanceStopped, LaunchTime: old, Tags: tagsOf("bot5", "2", "l6")},
	}
	things := []dormouse.Belonging{
		{Kind: dormouse.LeftoverVolume, ID: "vol-left", State: "available", Since: old, Tags: tagsOf("bot9", "3", "")},
		{Kind: dormouse.LeftoverVolume, ID: "vol-used", State: "in-use", Instance: "i-live"},
		{Kind: dormouse.LeftoverVolume, ID: "vol-of-a-stray", State: "in-use", Instance: "i-stray"}, // goes with it
		{Kind: dormouse.LeftoverVolume, ID: "vol-new", State: "creating"},
		{Kind: dormouse.LeftoverAddress, ID: "198.51.100.1", Handle: "eipassoc-1", Instance: "i-live"},
		{Kind: dormouse.LeftoverAddress, ID: "198.51.100.2", Handle: "eipassoc-2", Instance: "i-stray"},
		{Kind: dormouse.LeftoverAddress, ID: "198.51.100.3", Handle: "eipassoc-3", Instance: "i-young"},
		{Kind: dormouse.LeftoverAddress, ID: "198.51.100.4", Handle: "eipassoc-4", Instance: "i-of-somebody-else"},
		{Kind: dormouse.LeftoverAddress, ID: "198.51.100.5", Handle: "eipassoc-5", Instance: "i-dying"},
		{Kind: dormouse.LeftoverSpotRequest, ID: "sir-left", Handle: "sir-left", State: "open", Since: old, Tags: tagsOf("bot9", "4", "l2")},
		{Kind: dormouse.LeftoverSpotRequest, ID: "sir-young", Handle: "sir-young", State: "open", Since: young},
		{Kind: dormouse.LeftoverSpotRequest, ID: "sir-unanswered", State: "open", Since: old, Tags: tagsOf("bot2", "1", "l9")},
		{Kind: dormouse.LeftoverSpotRequest, ID: "sir-active", State: "active", Instance: "i-live", Since: old},
	}
	found := leftovers(instances, things, judgement{
		now: now, young: terminateAgain,
		owned: func(c dormouse.CloudInstance) bool { return c.ID == "i-live" },
		row: func(id string) dormouse.Instance {
			if id == "i-ordered" {
				return dormouse.Instance{ID: id, Worker: "bot7", Generation: 2, StoppingAt: young}
			}
			return dormouse.Instance{}
		},
		unanswered: func(launch string) bool { return launch == "l9" },
	})
	got := map[string]dormouse.LeftoverAction{}
	for _, l := range found {
		if l.Why == "" {
			t.Errorf("%s: no reason", l.ID)
		}
		if l.Action.Acts() && l.Kind != dormouse.LeftoverInstance && l.Handle == "" {
			t.Errorf("%s: nothing to name to EC2", l.ID)
		}
		got[l.ID] = l.Action
	}
	want := map[string]dormouse.LeftoverAction{
		"i-stray": dormouse.ReapTerminate, "i-young": dormouse.ReapWait, "i-ordered": dormouse.ReapWait, "i-stopped": dormouse.ReapTerminate,
		"vol-left":     dormouse.ReapKeep,
		"198.51.100.2": dormouse.ReapDisassociate, "198.51.100.3": dormouse.ReapWait, "198.51.100.5": dormouse.ReapDisassociate,
		"sir-left": dormouse.ReapCancel, "sir-young": dormouse.ReapWait, "sir-unanswered": dormouse.ReapWait,
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestReap: looking changes nothing, reaping ends what it may, enters what it
// ends into the ledger, and says what EC2 refused.
func TestReap(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.things = []dormouse.Belonging{
			{Kind: dormouse.LeftoverVolume, ID: "vol-left", State: "available"},
			{Kind: dormouse.LeftoverAddress, ID: "198.51.100.2", Handle: "eipassoc-2", Instance: "i-stray"},
			{Kind: dormouse.LeftoverSpotRequest, ID: "sir-left", Handle: "sir-left", State: "open"},
		}
		w.AddAccount(w.region)
		// Not listed before, and old at the first look: what a master finds that
		// comes back after a long time.
		for _, id := range []string{"i-stray", "i-stubborn"} {
			w.region.instances[id] = &dormouse.CloudInstance{
				ID: id, State: dormouse.InstanceRunning, LaunchTime: time.Now().Add(-time.Hour), Tags: tagsOf("bot9", "4", "l2"),
			}
		}
		w.region.terminate = func(id string) error {
			if id == "i-stubborn" {
				return dormouse.Errorf(dormouse.Configuration, "OperationNotPermitted: it may not be terminated")
			}
			return nil
		}
		seen := w.Leftovers(t.Context())
		if len(seen.Leftovers) != 5 || len(seen.Failed) != 0 {
			t.Fatalf("%+v", seen)
		}
		if len(w.region.batches) != 0 || len(w.region.letGo) != 0 || w.books.instance("i-stray").ID != "" {
			t.Fatalf("looking has terminated %v, let go of %v", w.region.batches, w.region.letGo)
		}
		for _, l := range w.Reap(t.Context()).Leftovers {
			switch refused := l.ID == "i-stubborn"; {
			case l.Done != (l.Action.Acts() && !refused), refused != (l.Error != ""):
				t.Errorf("%+v", l)
			case l.Account != w.region.Key(), l.Region != w.region.Region():
				t.Errorf("%+v", l)
			}
		}
		if !w.region.instances["i-stray"].State.Dying() {
			t.Error("the instance lives")
		}
		if row := w.books.instance("i-stray"); row.Worker != "bot9" || row.StoppingAt.IsZero() {
			t.Errorf("the ledger has %+v", row)
		}
		slices.Sort(w.region.letGo)
		if diff := gocmp.Diff([]string{"address eipassoc-2", "spot request sir-left"}, w.region.letGo); diff != "" {
			t.Error(diff)
		}
		// What may not be asked for is said, and keeps nothing else from going.
		w.region.denied = dormouse.Errorf(dormouse.Configuration, "UnauthorizedOperation: ec2:DescribeVolumes")
		w.region.terminate = nil
		if r := w.Reap(t.Context()); r.Failed[w.region.Key()] == "" || !w.region.instances["i-stubborn"].State.Dying() {
			t.Errorf("%+v", r)
		}
		// An account that cannot be asked is named.
		w.region.list = func() error { return dormouse.Errorf(dormouse.Configuration, "AuthFailure") }
		if r := w.Leftovers(t.Context()); r.Failed[w.region.Key()] == "" {
			t.Errorf("%+v", r)
		}
	})
}

// TestTidyByItself: what is no instance is let go of within the hour.
func TestTidyByItself(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.things = []dormouse.Belonging{
			{Kind: dormouse.LeftoverVolume, ID: "vol-left", State: "available"},
			{Kind: dormouse.LeftoverSpotRequest, ID: "sir-left", Handle: "sir-left", State: "open"},
		}
		w.AddAccount(w.region)
		w.Reconcile(t.Context())
		open := func() []dormouse.Belonging {
			w.region.mu.Lock()
			defer w.region.mu.Unlock()
			return w.region.things[1:]
		}
		time.Sleep(sweepInterval + time.Minute)
		if left := open(); len(left) != 0 {
			t.Errorf("after the first sweep there are %v", left)
		}
		// Also where something ends every few minutes.
		w.region.mu.Lock()
		w.region.things = append(w.region.things, dormouse.Belonging{Kind: dormouse.LeftoverSpotRequest, ID: "sir-2", Handle: "sir-2", State: "open"})
		w.region.mu.Unlock()
		for range 20 {
			time.Sleep(4 * time.Minute)
			w.account(w.region).hurry()
		}
		synctest.Wait()
		if left := open(); len(left) != 0 {
			t.Errorf("an hour later there are %v", left)
		}
		if diff := gocmp.Diff([]string{"spot request sir-left", "spot request sir-2"}, w.region.letGo); diff != "" {
			t.Error(diff)
		}
	})
}
