package fleet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// taken is a worker with a spot instance, i-1, that EC2 takes back in two minutes,
// whose generation is over.
func taken(t *testing.T, w *world) *Member {
	t.Helper()
	return takenIn(t, w, 2*time.Minute)
}

// takenIn is taken with so much time left, by the clock that tells of it.
func takenIn(t *testing.T, w *world, left time.Duration) *Member {
	t.Helper()
	w.alive("bot1", 1, true)
	m := w.member("bot1")
	if _, err := m.Start(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	w.region.set("i-1", dormouse.InstanceRunning)
	if _, _, err := m.Check(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	w.Reconcile(t.Context())
	w.NoteInterrupted("bot1", 1, time.Now().Add(left))
	if err := m.Stop(t.Context(), 1, false); err != nil {
		t.Fatal(err)
	}
	w.alive("bot1", 1, false)
	return m
}

// counted is how many instances the budget counts.
func counted(w *world) int {
	w.Fleet.mu.Lock()
	defer w.Fleet.mu.Unlock()
	return len(w.committed(time.Now()))
}

// TestWhatEC2TakesBackItEnds: the generation is over at once, and the instance, which
// counts until it has ended, is not ended by us.
func TestWhatEC2TakesBackItEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		terminations := 0
		w.region.terminate = func(string) error { terminations++; return nil }
		taken(t, w)
		w.TurnedAway("i-1", "bot1") // its agent comes back
		w.Reap(t.Context())
		w.NoteInterrupted("bot1", 1, time.Now().Add(time.Hour)) // said again
		time.Sleep(2*time.Minute - time.Second)
		if n := counted(w); n != 1 {
			t.Errorf("%d instances count", n)
		}
		w.region.mu.Lock()
		w.region.instances["i-1"].StateReason = "Server.SpotInstanceTermination: Spot instance termination"
		w.region.mu.Unlock()
		w.region.set("i-1", dormouse.InstanceTerminated)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if terminations != 0 {
			t.Errorf("it was ended %d times", terminations)
		}
		row := w.books.instance("i-1")
		if !row.TakenBack() || !row.StoppingAt.IsZero() || row.EndedAt.IsZero() {
			t.Errorf("the ledger has %+v", row)
		}
		if n := counted(w); n != 0 {
			t.Errorf("%d instances count after its end", n)
		}
	})
}

// TestWhatOutlivesItsTimeIsEnded: by the reaper, soon after the announced time, also
// where another process heard of it.
func TestWhatOutlivesItsTimeIsEnded(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			taken(t, w)
			if restarted {
				w.Close()
				w = newWorld(t, w.region, w.books)
				w.AddAccount(w.region)
				w.Reconcile(t.Context())
			}
			time.Sleep(2*time.Minute + outlives - time.Second)
			synctest.Wait()
			if w.region.dying("i-1") {
				t.Error("it was ended before")
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if !w.region.dying("i-1") {
				t.Errorf("restarted: %v: it was not ended", restarted)
			}
		})
	}
}

// TestANoticeByAnotherClock: EC2 has its two minutes, and its two more, whatever the
// announced time is by this clock; and no more. Said again, it is as it was.
func TestANoticeByAnotherClock(t *testing.T) {
	for _, told := range []time.Duration{-5 * time.Hour, -2 * time.Minute, 0, 2 * time.Minute, 5 * time.Hour} {
		inWorld(t, func(t *testing.T, w *world) {
			takenIn(t, w, told)
			began := time.Now()
			for _, again := range []time.Duration{told, -time.Hour, time.Hour} {
				if at := w.NoteInterrupted("bot1", 1, began.Add(again)); !at.Equal(began.Add(noticeTime)) {
					t.Errorf("told %v, and again %v: it is taken in %v", told, again, at.Sub(began))
				}
			}
			time.Sleep(noticeTime + outlives - time.Second)
			synctest.Wait()
			if w.region.dying("i-1") {
				t.Errorf("told %v: it was ended before", told)
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if !w.region.dying("i-1") {
				t.Errorf("told %v: it was not ended", told)
			}
		})
	}
}

// TestAClockThatIsSetBetweenTwoMasters: the second leaves it to EC2 until that must
// have ended it, and no longer.
func TestAClockThatIsSetBetweenTwoMasters(t *testing.T) {
	for _, set := range []time.Duration{-5 * time.Hour, -time.Minute, 0, time.Minute, 4 * time.Minute, 5 * time.Hour} {
		inWorld(t, func(t *testing.T, w *world) {
			taken(t, w)
			w.Close()
			row := w.books.instance("i-1")
			row.TakenAt = row.TakenAt.Round(0).Add(-set) // as the new clock sees it
			if err := w.books.SaveInstance(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			w = newWorld(t, w.region, w.books)
			w.AddAccount(w.region)
			w.Reconcile(t.Context())
			time.Sleep(noticeTime - time.Second)
			synctest.Wait()
			if w.region.dying("i-1") {
				t.Errorf("set by %v: it was ended before EC2 was due", set)
			}
			time.Sleep(outlives + 30*time.Second)
			synctest.Wait()
			if !w.region.dying("i-1") {
				t.Errorf("set by %v: it was not ended", set)
			}
		})
	}
}

// TestAMasterThatStopsLeavesNothingToEC2: nobody would look after it.
func TestAMasterThatStopsLeavesNothingToEC2(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		taken(t, w)
		w.LastLook(t.Context())
		time.Sleep(time.Second)
		synctest.Wait()
		if !w.region.dying("i-1") {
			t.Error("it was left alive")
		}
	})
}

// TestLeftToEC2: by instance or worker, and only so long.
func TestLeftToEC2(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := time.Now().Add(2 * time.Minute)
		taken(t, w)
		for _, tc := range []struct {
			id, worker string
			want       bool
		}{{"i-1", "", true}, {"i-1", "bot9", true}, {"", "bot1", true}, {"i-2", "bot1", false}, {"", "", false}, {"", "bot2", false}} {
			got, left := w.LeftToEC2(tc.id, tc.worker)
			if left != tc.want || left && got.Sub(at).Abs() > time.Second {
				t.Errorf("%+v: %v, %v", tc, got, left)
			}
		}
		time.Sleep(2*time.Minute + outlives + time.Second)
		if _, left := w.LeftToEC2("i-1", ""); left {
			t.Error("it is left for ever")
		}
	})
}
