package planner

import (
	"fmt"
	"strings"
)

// namedWorkers is how many workers a reason names one by one; a person reads no
// more, and a builder may have a thousand.
const namedWorkers = 4

// comingReason says why a request waits that has a place on a worker that is
// not attached yet.
func comingReason(w Worker) string {
	why := "waiting for worker " + w.Name + ", which is starting"
	if !w.Starting {
		why = "waiting for worker " + w.Name + ", which is to be started for it"
	}
	return withDetail(why, w.Reason)
}

// reason says why a request of the builder has no place anywhere. It is for all
// of the builder's requests alike, so it is worded once for all of them.
func (n *network) reason(b int) string {
	node := &n.builders[b]
	if len(node.edges) == 0 {
		if len(node.missing) > 0 {
			return fmt.Sprintf("no worker of builder %s is configured: there is no worker %s",
				node.Name, strings.Join(node.missing[:min(len(node.missing), namedWorkers)], ", "))
		}
		return "builder " + node.Name + " has no workers"
	}
	attached, coming := 0, 0
	for _, e := range node.edges {
		switch n.workers[e.worker].class {
		case ready:
			attached++
		case starting, startable:
			coming++
		}
	}
	if len(node.edges) == 1 && attached+coming == 1 {
		w := n.workers[node.edges[0].worker]
		return "waiting for worker " + w.Name + ", which " + n.cause(node, node.edges[0])
	}
	head := "no worker of builder " + node.Name + " is attached: "
	switch {
	case attached > 0:
		head = "waiting for a worker of builder " + node.Name + ": "
	case coming > 0:
		head = "no worker of builder " + node.Name + " is attached, and those that can be started are for earlier requests: "
	}

	// What a person can wait for stands first, then what someone must mend.
	var causes []string
	for _, useful := range []bool{true, false} {
		for _, e := range node.edges {
			w := n.workers[e.worker]
			if (w.class != 0) != useful || len(causes) == namedWorkers {
				continue
			}
			causes = append(causes, "worker "+w.Name+" "+n.cause(node, e))
		}
	}
	why := head + strings.Join(causes, "; ")
	if more := len(node.edges) - len(causes); more > 0 {
		why += fmt.Sprintf("; and %d more", more)
	}
	return why
}

// cause says, after the worker's name, why it does nothing for the builder.
func (n *network) cause(b *builderNode, e edge) string {
	w := n.workers[e.worker]
	switch {
	case w.Paused:
		return withDetail("is paused", w.Reason)
	case w.Graceful:
		return withDetail("is shutting down and takes no new builds", w.Reason)
	case w.class == 0:
		if w.Reason != "" {
			return "is not available: " + w.Reason
		}
		return "is not attached"
	case e.busy:
		return "runs a build of " + b.Name + " already"
	case w.class != ready:
		state := "can be started, but"
		if w.class == starting {
			state = "is starting, but"
		}
		return withDetail(state+" is needed for earlier requests", w.Reason)
	case e.flow:
		return "is given another build of " + b.Name
	case len(w.RunningBuilders) == 0:
		return "is taken by an earlier request"
	default:
		return fmt.Sprintf("runs %s of %s", counted(w.Builds, "build"), someOf(w.RunningBuilders))
	}
}

func withDetail(text, detail string) string {
	if detail == "" {
		return text
	}
	return text + ": " + detail
}

func counted(n int, what string) string {
	if n == 1 {
		return "a " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func someOf(names []string) string {
	if len(names) <= namedWorkers {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namedWorkers], ", "), len(names)-namedWorkers)
}
