package planner

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// collapse proposes, for builders that want it, to merge each request into the
// newest (by id) that asks for the same, and returns the queue without those.
//
// Two requests ask for the same when Buildbot's default rule says so: the same
// codebases, and for each of them the same repository, branch, project and
// revision; and equal properties from the scheduler, save its own name. Buildbot
// does not look at what a person chose in a force dialogue; we do, because a
// build that was asked for with other values is another build.
func collapse(queue []queued, builders []builderNode, a *answers) ([]queued, []Collapse) {
	type group struct {
		builder int
		sources string
	}
	groups := make(map[group][]int)
	byFunction := make(map[int][]*Request)
	for i, q := range queue {
		switch b := &builders[q.builder]; {
		case !b.CollapseRequests || q.req.NoCollapse:
		case b.Choose.Collapse != nil:
			byFunction[q.builder] = append(byFunction[q.builder], q.req)
		default:
			g := group{builder: q.builder, sources: sourcesKey(q.req.Sources)}
			groups[g] = append(groups[g], i)
		}
	}
	into := make(map[int]int64) // place in the queue → id of the survivor
	for _, members := range groups {
		if len(members) < 2 {
			continue
		}
		newest := make(map[string]int64, 1)
		keys := make([]string, len(members))
		for i, m := range members {
			key, err := propertiesKey(queue[m].req.Properties)
			if err != nil {
				continue // such properties are never durable; equal to nothing
			}
			keys[i] = key
			newest[key] = max(newest[key], queue[m].req.ID)
		}
		for i, m := range members {
			if survivor := newest[keys[i]]; keys[i] != "" && survivor != queue[m].req.ID {
				into[m] = survivor
			}
		}
	}
	merged := make(map[int64]int64) // by a function: id → id of the survivor
	for _, b := range slices.Sorted(maps.Keys(byFunction)) {
		maps.Copy(merged, a.collapseBy(&builders[b].Builder, byFunction[b]))
	}
	if len(into)+len(merged) == 0 {
		return queue, nil
	}
	kept := make([]queued, 0, len(queue)-len(into))
	var collapses []Collapse
	for i, q := range queue {
		survivor, ok := into[i]
		if !ok {
			survivor, ok = merged[q.req.ID]
		}
		if ok {
			collapses = append(collapses, Collapse{RequestID: q.req.ID, Into: survivor})
		} else {
			kept = append(kept, q)
		}
	}
	return kept, collapses
}

// sourcesKey is the same for source stamps that differ in their order alone.
func sourcesKey(sources []dormouse.SourceStamp) string {
	if len(sources) > 1 {
		sources = slices.Clone(sources)
		slices.SortFunc(sources, func(a, b dormouse.SourceStamp) int {
			return strings.Compare(a.Codebase, b.Codebase)
		})
	}
	var key []byte
	for _, s := range sources {
		for _, field := range []string{s.Codebase, s.Repository, s.Branch, s.Project, s.Revision} {
			key = append(key, field...)
			key = append(key, 0)
		}
	}
	return string(key)
}

// What the sources of properties are called by those who set them.
const (
	fromScheduler = "Scheduler"
	fromForceForm = "Force Build Form"
)

// propertiesKey is the same for properties that are no reason to build twice;
// it is never empty.
func propertiesKey(p dormouse.Properties) (string, error) {
	var matter map[string]any
	for name, v := range p {
		if v.Source == fromScheduler && name != "scheduler" ||
			v.Source == fromForceForm && name != "reason" && name != "owner" {
			if matter == nil {
				matter = make(map[string]any)
			}
			matter[name] = v.Value
		}
	}
	if matter == nil {
		return "{}", nil
	}
	key, err := json.Marshal(matter) // sorts by name
	return string(key), err
}
