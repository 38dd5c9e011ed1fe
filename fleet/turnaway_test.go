package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
)

func (r *region) add(id string, tags map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instances[id] = &dormouse.CloudInstance{ID: id, State: dormouse.InstanceRunning, LaunchTime: time.Now(), Tags: tags}
}

func (r *region) dying(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.instances[id].State.Dying()
}

// TestTurnedAway: the instance of a worker that was refused for good is ended at
// once, by its id or its worker, and nothing that is in use, or not ours.
func TestTurnedAway(t *testing.T) {
	for _, tc := range []struct {
		name, id, worker string
		want             bool // that i-stray ends
	}{
		{"by its instance", "i-stray", "", true},
		{"by its worker", "", "bot9", true},
		{"another worker", "", "bot8", false},
		{"one that is no instance of ours", "i-of-somebody-else", "", false},
		{"nobody", "", "", false},
		{"one that is in use", "i-live", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.alive("bot1", 1, true)
				if _, err := w.member("bot1").Start(t.Context(), 1); err != nil { // i-1
					t.Fatal(err)
				}
				w.region.add("i-stray", tagsOf("bot9", "4", "l2"))
				id := tc.id
				if id == "i-live" {
					id = "i-1"
				}
				w.TurnedAway(id, tc.worker)
				time.Sleep(time.Second)
				synctest.Wait()
				if got := w.region.dying("i-stray"); got != tc.want {
					t.Errorf("after a second the stray is ending: %v", got)
				}
				if w.region.dying("i-1") {
					t.Error("an instance in use was ended")
				}
			})
		})
	}
}

// TestTurnedAwayBeforeItIsListed: EC2 may show an instance only some time after its
// agent came; and who is being terminated already needs nothing more.
func TestTurnedAwayBeforeItIsListed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.AddAccount(w.region)
		w.region.add("i-stray", tagsOf("bot9", "4", "l2"))
		w.region.hide("i-stray")
		w.TurnedAway("i-stray", "bot9")
		time.Sleep(40 * time.Second)
		w.region.hide()
		time.Sleep(15 * time.Second)
		if !w.region.dying("i-stray") {
			t.Error("the stray lives")
		}
		lists := w.region.lists
		w.TurnedAway("i-stray", "bot9") // its agent comes again until the machine is off
		synctest.Wait()
		if w.region.lists != lists || len(w.region.batches) != 1 {
			t.Errorf("listed %d times more, terminated %v", w.region.lists-lists, w.region.batches)
		}
	})
}

// TestLastLook: at a stop, what belongs to nobody is ended at first sight.
func TestLastLook(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("kept", 1, true)
		if _, err := w.member("kept").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.region.add("i-stray", tagsOf("bot9", "4", "l2"))
		w.LastLook(t.Context())
		if w.Strays() != 1 {
			t.Errorf("%d strays", w.Strays())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !w.region.dying("i-stray") || w.region.dying("i-1") || w.Stopping() != 1 {
			t.Errorf("the stray is ending: %v, the kept one: %v, %d ending", w.region.dying("i-stray"), w.region.dying("i-1"), w.Stopping())
		}
		w.region.set("i-stray", dormouse.InstanceTerminated)
		time.Sleep(5 * time.Second)
		if w.Strays() != 0 || w.Stopping() != 0 {
			t.Errorf("%d strays, %d ending", w.Strays(), w.Stopping())
		}
	})
}
