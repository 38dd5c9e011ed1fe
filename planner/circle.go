package planner

import (
	"fmt"
	"slices"
	"strings"
)

// circles are the running builds that never end, since each waits for requests
// that need what such builds hold.
type circles struct {
	*network
	*waits
	held  *ledger      // what they hold
	stuck []bool       // by holder
	never map[int]bool // by builder: whether its requests wait for ever; filled as asked
	of    map[int64]*queued
}

// findCircles finds them. All other builds are taken to end, and every worker to
// come that is configured: what is left then is stuck until somebody stops a build.
// It returns nil when no build waits.
func findCircles(queue []queued, n *network, w *waits) *circles {
	if len(w.open) == 0 {
		return nil
	}
	c := &circles{network: n, waits: w, stuck: make([]bool, len(w.holders)), of: map[int64]*queued{}}
	for i := range queue {
		if id := queue[i].req.ID; w.open[id] {
			c.of[id] = &queue[i]
		}
	}
	for i, list := range w.waiting {
		c.stuck[i] = len(list) > 0
	}
	for {
		c.never = map[int]bool{}
		c.hold()
		freed := false
		for i := range c.stuck {
			if c.stuck[i] && len(c.unmet(i)) == 0 {
				c.stuck[i], freed = false, true
			}
		}
		if !freed {
			return c
		}
	}
}

// hold notes what the builds hold that are stuck, as far as is known.
func (c *circles) hold() {
	holders := slices.Clone(c.holders)
	for i := range holders {
		if !c.stuck[i] {
			holders[i] = Holder{}
		}
	}
	c.held = newLedger(holders)
}

// unmet are the requests that a build waits for in vain.
func (c *circles) unmet(holder int) (out []int64) {
	for _, r := range c.waiting[holder] {
		by, built := c.builtBy[r]
		if q := c.of[r]; built && c.stuck[by] || q != nil && c.waitsForEver(q.builder) {
			out = append(out, r)
		}
	}
	return out
}

// waitsForEver reports whether a builder's requests can never go on.
func (c *circles) waitsForEver(builder int) bool {
	if c == nil {
		return false
	}
	never, known := c.never[builder]
	if !known {
		text, _ := c.lacks(builder)
		never = text != ""
		c.never[builder] = never
	}
	return never
}

// lacks says what a builder's requests cannot have while those builds run that
// are stuck, and who has it. It is empty where they can go on, and where something
// else keeps them.
func (c *circles) lacks(builder int) (text string, by []int) {
	b := &c.builders[builder]
	for _, n := range b.needs {
		if u := c.held.uses[n.what]; u != nil && !n.admits(u) {
			return n.what + ", which " + c.who(u.holders, "holds", "hold"), u.holders
		}
	}
	var texts []string
	for i, e := range b.edges {
		text, on := c.lacksOn(b, i, &c.workers[e.worker])
		if text == "" {
			return "", nil
		}
		texts, by = append(texts, text), append(by, on...)
	}
	if len(by) == 0 {
		return "", nil
	}
	if len(texts) > namedWorkers {
		texts = append(texts[:namedWorkers], fmt.Sprintf("one of %d more workers", len(texts)-namedWorkers))
	}
	return strings.Join(texts, ", or "), by
}

func (c *circles) lacksOn(b *builderNode, edge int, w *workerNode) (text string, by []int) {
	for i, h := range c.holders {
		if !c.stuck[i] || h.Worker != w.Name {
			continue
		}
		if h.Builder == b.Name {
			return fmt.Sprintf("worker %s, where %s of the same builder runs", w.Name, h.Build), []int{i}
		}
		by = append(by, i)
	}
	if w.MaxBuilds > 0 && len(by) >= w.MaxBuilds {
		return fmt.Sprintf("worker %s, which %s", w.Name, c.who(by, "has", "have")), by
	}
	for _, n := range c.needsOn(b, edge) {
		if n.never() {
			return fmt.Sprintf("%d of %s, of which there are %d", n.count, n.what, n.most), nil
		}
		if u := c.held.uses[n.what]; u != nil && !n.admits(u) {
			return n.what + ", which " + c.who(u.holders, "holds", "hold"), u.holders
		}
	}
	return "", nil
}

// who names builds, with what one of them does, or several do.
func (c *circles) who(holders []int, does, do string) string {
	if len(holders) > 1 {
		does = do
	}
	names := make([]string, len(holders))
	for i, h := range holders {
		names[i] = c.holders[h].Build
	}
	return someOf(names) + " " + does
}

// why says of a request that waits for ever who waits for whom; "" of another.
func (c *circles) why(q queued) string {
	if !c.waitsForEver(q.builder) {
		return ""
	}
	lack, by := c.lacks(q.builder)
	var told []string
	seen := map[int]bool{}
	for ; len(by) > 0; by = by[1:] {
		if seen[by[0]] {
			continue
		}
		if len(told) == namedWorkers {
			told = append(told, "and so on")
			break
		}
		seen[by[0]] = true
		text, more := c.story(by[0], q)
		told, by = append(told, text), append(slices.Clone(by), more...)
	}
	return "it can never go on: it needs " + lack + "; " + strings.Join(told, "; ") + ". Stop one of these builds"
}

// story says what a build waits for, and who is in the way of that.
func (c *circles) story(holder int, q queued) (text string, by []int) {
	unmet, name := c.unmet(holder), c.holders[holder].Build
	if slices.Contains(unmet, q.req.ID) {
		return name + " waits for this request", nil
	}
	r := unmet[0]
	if k, built := c.builtBy[r]; built {
		return name + " waits for " + c.holders[k].Build, []int{k}
	}
	lack, by := c.lacks(c.of[r].builder)
	return fmt.Sprintf("%s waits for request %d of builder %s, which needs %s", name, r, c.of[r].req.Builder, lack), by
}
