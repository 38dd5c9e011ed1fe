package fleet

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// tidyInterval is how long it is between two looks at what is no instance. An
// address or a volume costs a cent in that time.
const tidyInterval = time.Hour

// Leftovers looks for what no live generation has use for, in every account, and
// changes nothing.
func (f *Fleet) Leftovers(ctx context.Context) dormouse.LeftoverReport {
	return f.everywhere(func(a *account) ([]dormouse.Leftover, error) {
		found, _, err := a.leftovers(ctx)
		return found, err
	})
}

// Reap looks for what no live generation has use for, and ends what it may end.
func (f *Fleet) Reap(ctx context.Context) dormouse.LeftoverReport {
	return f.everywhere(func(a *account) ([]dormouse.Leftover, error) {
		found, strays, err := a.leftovers(ctx)
		a.enterStrays(found, strays)
		a.reap(ctx, found) // what is refused is said with each
		return found, err
	})
}

func (f *Fleet) everywhere(look func(*account) ([]dormouse.Leftover, error)) dormouse.LeftoverReport {
	f.mu.Lock()
	accounts := slices.Collect(maps.Values(f.accounts))
	f.mu.Unlock()
	out := dormouse.LeftoverReport{Leftovers: []dormouse.Leftover{}, Failed: map[string]string{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, a := range accounts {
		wg.Go(func() {
			found, err := look(a)
			mu.Lock()
			defer mu.Unlock()
			out.Leftovers = append(out.Leftovers, found...)
			if err != nil {
				out.Failed[a.cloud.Key()] = err.Error()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(out.Leftovers, func(x, y dormouse.Leftover) int {
		return cmp.Or(cmp.Compare(x.Account, y.Account), cmp.Compare(x.Kind, y.Kind), x.Since.Compare(y.Since), cmp.Compare(x.ID, y.ID))
	})
	return out
}

// leftovers asks the cloud first, and then what is known here: a generation that
// opens meanwhile counts. It returns the instances of no live generation, too, and
// what could be found where a part could not be asked for.
func (a *account) leftovers(ctx context.Context) (found []dormouse.Leftover, strays map[string]dormouse.CloudInstance, err error) {
	instances, err := a.cloud.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	strays = map[string]dormouse.CloudInstance{}
	a.fleet.mu.Lock()
	for _, i := range instances {
		if !a.fleet.owned(i) {
			strays[i.ID] = i
		}
	}
	a.fleet.mu.Unlock()
	things, err := a.cloud.Belongings(ctx, slices.Sorted(maps.Keys(strays)))
	f := a.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	found = leftovers(instances, things, judgement{
		now: time.Now(), young: f.scaled(terminateAgain), owned: f.owned,
		row: func(id string) dormouse.Instance {
			if r := f.rows[id]; r != nil {
				return *r
			}
			return dormouse.Instance{}
		},
		unanswered: func(launch string) bool { return launch != "" && len(f.launches[launch]) > 0 },
	})
	for i := range found {
		found[i].Account, found[i].Region = a.cloud.Key(), a.cloud.Region()
	}
	return found, strays, err
}

// enterStrays makes sure that the ledger has the instances that are to be ended.
func (a *account) enterStrays(found []dormouse.Leftover, strays map[string]dormouse.CloudInstance) {
	for i, l := range found {
		if l.Action != dormouse.ReapTerminate {
			continue
		}
		switch r, err := a.enter(strays[l.ID]); {
		case err != nil:
			found[i].Action, found[i].Why = dormouse.ReapWait, "it could not be entered in the ledger: "+err.Error()
		case a.fleet.opt.Live(r.Worker, r.Generation):
			found[i].Action, found[i].Why = dormouse.ReapWait, "its launch was answered in this moment"
		}
	}
}

// judgement is what is known here when a listing is judged.
type judgement struct {
	now        time.Time
	young      time.Duration // what is younger may be on its way
	owned      func(dormouse.CloudInstance) bool
	row        func(id string) dormouse.Instance // of the ledger, zero for none
	unanswered func(launch string) bool
}

// leftovers decides what of a listing is left behind, and what to do about it.
func leftovers(instances []dormouse.CloudInstance, things []dormouse.Belonging, j judgement) []dormouse.Leftover {
	var out []dormouse.Leftover
	strays := map[string]dormouse.Leftover{} // also those that have ended
	for _, i := range instances {
		if j.owned(i) {
			continue
		}
		l := leftoverOf(dormouse.LeftoverInstance, i.ID, i.Tags, i.LaunchTime)
		row := j.row(i.ID)
		if row.Worker != "" {
			l.Worker, l.Generation = row.Worker, row.Generation
		}
		l.Action, l.Why = dormouse.ReapTerminate, "it is "+string(i.State)+", and belongs to no live generation"
		switch age := j.now.Sub(i.LaunchTime); {
		case !row.StoppingAt.IsZero():
			l.Action, l.Why = dormouse.ReapWait, "EC2 accepted its end "+ago(j.now.Sub(row.StoppingAt))
		case young(i.LaunchTime, j.now, j.young):
			l.Action, l.Why = dormouse.ReapWait, "it was launched "+ago(age)+", and may be one whose launch is being answered"
		}
		strays[i.ID] = l
		if !i.State.Dying() {
			out = append(out, l)
		}
	}
	for _, b := range things {
		l := leftoverOf(b.Kind, b.ID, b.Tags, b.Since)
		l.Handle = b.Handle
		switch holder, stray := strays[b.Instance]; {
		case b.Kind == dormouse.LeftoverVolume && b.Instance == "" && b.State == "available":
			l.Action, l.Why = dormouse.ReapKeep, "a launch made it, and nothing has it: delete it by hand if its data is not wanted (aws ec2 delete-volume)"
		case b.Kind == dormouse.LeftoverAddress && stray:
			l.Worker, l.Generation, l.Action = holder.Worker, holder.Generation, dormouse.ReapDisassociate
			l.Why = "instance " + b.Instance + " has it, which belongs to no live generation"
			if holder.Action == dormouse.ReapWait {
				l.Action = dormouse.ReapWait
			}
		case b.Kind == dormouse.LeftoverSpotRequest && b.Instance == "" && b.State == "open":
			age := j.now.Sub(b.Since)
			l.Action, l.Why = dormouse.ReapCancel, "it is open, and may yet start an instance that nobody waits for"
			if young(b.Since, j.now, j.young) || j.unanswered(b.Tags[dormouse.TagLaunch]) {
				l.Action, l.Why = dormouse.ReapWait, "it was made "+ago(age)+", and its launch may be being answered"
			}
		default:
			continue
		}
		out = append(out, l)
	}
	return out
}

func leftoverOf(kind dormouse.LeftoverKind, id string, tags map[string]string, since time.Time) dormouse.Leftover {
	l := dormouse.Leftover{Kind: kind, ID: id, Since: since, Worker: tags[dormouse.TagWorker]}
	l.Generation, _ = strconv.ParseInt(tags[dormouse.TagGeneration], 10, 64)
	return l
}

func ago(d time.Duration) string { return fmt.Sprintf("%v ago", d.Round(time.Second)) }

// reap carries out what was decided, and notes in found what came of it.
func (a *account) reap(ctx context.Context, found []dormouse.Leftover) {
	var wg sync.WaitGroup
	for i, l := range found {
		if !l.Action.Acts() {
			continue
		}
		wg.Go(func() {
			err := a.fleet.inCharge(ctx)
			switch {
			case err != nil:
			case l.Kind == dormouse.LeftoverInstance:
				err = a.terminate(ctx, dormouse.Instance{ID: l.ID, LaunchedAt: l.Since})
			default:
				err = a.cloud.LetGo(ctx, l.Kind, l.Handle)
			}
			if dormouse.CodeOf(err) == dormouse.NotFound {
				err = nil // it is gone already
			}
			if found[i].Done = err == nil; err != nil {
				found[i].Error = err.Error()
				if l.Kind != dormouse.LeftoverInstance { // of those it is noted already
					a.fleet.refused(chore{choreLetGo, l.ID}, l.Worker, a.cloud.Key(), err)
				}
				return
			}
			a.fleet.done(chore{choreLetGo, l.ID})
			a.fleet.opt.Log.Warn("ended what was left behind", "kind", l.Kind, "id", l.ID, "worker", l.Worker, "action", l.Action, "why", l.Why)
		})
	}
	wg.Wait()
}

// tidy lets go of what is no instance and was left behind, and says what a person
// has to decide on. Instances are the listing's business.
func (a *account) tidy(ctx context.Context, said map[string]bool) {
	found, _, err := a.leftovers(ctx)
	if err != nil {
		a.fleet.refused(chore{choreSeek, a.cloud.Key()}, "", a.cloud.Key(), err)
	} else {
		a.fleet.done(chore{choreSeek, a.cloud.Key()})
		left := map[string]bool{}
		for _, l := range found {
			left[l.ID] = l.Action.Acts()
		}
		a.fleet.doneBut(choreLetGo, a.cloud.Key(), left)
	}
	found = slices.DeleteFunc(found, func(l dormouse.Leftover) bool { return l.Kind == dormouse.LeftoverInstance })
	for _, l := range found {
		if l.Action == dormouse.ReapKeep && !said[l.ID] {
			said[l.ID] = true
			a.fleet.opt.Log.Warn("something was left behind, and costs money", "kind", l.Kind, "id", l.ID, "account", l.Account, "why", l.Why)
		}
	}
	a.reap(ctx, found)
}
