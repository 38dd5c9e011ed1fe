package procs

import (
	"strings"
	"syscall"
	"time"
)

// Process is a process of this machine that lives.
type Process struct {
	PID, Parent, Group int
	// Started is when, in clock ticks since the machine's start: with PID it names
	// one process for good.
	Started uint64
}

// shownCommand bounds what is shown of a command line, in bytes: enough to know
// the process by.
const shownCommand = 200

// show joins the words of a command line, as many as there is room for. A word
// is shown whole or not at all, so that what looks for secrets in it finds them.
func show(words []string) string {
	var out strings.Builder
	for i, word := range words {
		if i > 0 {
			if out.Len()+1+len(word) > shownCommand {
				out.WriteString(" …")
				break
			}
			out.WriteByte(' ')
		}
		out.WriteString(word)
	}
	return strings.ToValidUTF8(strings.Join(strings.Fields(out.String()), " "), "\uFFFD")
}

// Family is those of all that a rule picks, and whatever descends from them.
func Family(all []Process, picks func(Process) bool) []Process {
	children := make(map[int][]Process, len(all))
	for _, p := range all {
		children[p.Parent] = append(children[p.Parent], p)
	}
	in := map[int]bool{}
	var out []Process
	var take func(Process)
	take = func(p Process) {
		if in[p.PID] {
			return
		}
		in[p.PID] = true
		out = append(out, p)
		for _, child := range children[p.PID] {
			take(child)
		}
	}
	for _, p := range all {
		if picks(p) {
			take(p)
		}
	}
	return out
}

const (
	// Patience is how long processes have to end by themselves when they are asked
	// to, and again when they are killed. What takes longer sits in the kernel.
	Patience = 5 * time.Second
	// firstLook and lastLook are the pauses between two looks whether they have.
	firstLook = 2 * time.Millisecond
	lastLook  = 50 * time.Millisecond
)

// End ends processes, and what they start meanwhile: with SIGTERM, and after
// patience with SIGKILL. find returns those that there are; End returns once it
// returns none, or when not even SIGKILL has helped for patience. It returns
// the names of those that there were, and of those that are left.
func End(find func() []Process, patience time.Duration) (found, left []string) {
	names := map[Process]string{}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		told := map[Process]bool{}
		deadline := time.Now().Add(patience)
		for pause := firstLook; ; pause = min(2*pause, lastLook) {
			list := find()
			if len(list) == 0 {
				return found, nil
			}
			left = left[:0]
			for _, p := range list {
				id := Process{PID: p.PID, Started: p.Started} // its parent may change
				if _, known := names[id]; !known {
					names[id] = p.String()
					found = append(found, names[id])
				}
				left = append(left, names[id])
				if !told[id] {
					told[id] = true
					p.signal(signal)
				}
			}
			if !time.Now().Before(deadline) {
				break
			}
			time.Sleep(pause)
		}
	}
	return found, left
}
