package command

import (
	"sync"
)

// held are the commands that outlive the connections they are told over: those
// of a group, started by a master that resumes them.
type held struct {
	mu       sync.Mutex
	commands map[string]*running
	wg       sync.WaitGroup
}

// get returns the command with an id, nil if there is none.
func (h *held) get(id string) *running {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.commands[id]
}

// any reports whether there are some.
func (h *held) any() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.commands) > 0
}

// run runs a command in a goroutine of its own. It reports false if there is one
// with that id.
func (h *held) run(r *running, c command) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.commands[r.id] != nil {
		return false
	}
	if h.commands == nil {
		h.commands = map[string]*running{}
	}
	h.commands[r.id] = r
	h.wg.Go(func() {
		defer close(r.done)
		defer r.cancel()
		r.run(c)
		h.mu.Lock()
		delete(h.commands, r.id)
		h.mu.Unlock()
	})
	return true
}

// drop ends the commands of groups that a rule picks, and waits for their end.
func (h *held) drop(picks func(group string) bool) {
	h.mu.Lock()
	var over []*running
	for _, r := range h.commands {
		if picks(r.group) {
			over = append(over, r)
		}
	}
	h.mu.Unlock()
	for _, r := range over {
		r.log.Info("command ended: the master does not want it any more")
		r.cancel()
	}
	for _, r := range over {
		<-r.done
	}
}

// end ends them all.
func (h *held) end() {
	h.drop(func(string) bool { return true })
	h.wg.Wait()
}
