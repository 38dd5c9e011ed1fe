package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// story prints why a request waits: each worker that could take it, what was
// tried for it, and what EC2 said.
func (p *printer) story(s dormouse.Story) {
	for _, w := range s.Workers {
		p.printf("\n%s  %s, since %s\n", p.bold("worker "+plain(w.Worker.Name)), plain(w.Worker.Phase), p.ago(w.Worker.Since))
		if w.Worker.Reason != "" {
			p.printf("  %s\n", plain(w.Worker.Reason))
		}
		for _, g := range w.Generations {
			p.generationStory(g, w.Worker.Reason)
		}
		if !w.NextAt.IsZero() {
			p.printf("  next: tried again at %s\n", w.NextAt.Local().Format("15:04:05"))
		}
	}
	if s.More > 0 {
		p.printf("\nand %s of the builder with less to tell: dormouse workers\n", count(s.More, "worker"))
	}
}

// generationStory leaves out what is said above it or below it already.
func (p *printer) generationStory(g dormouse.GenerationStory, said string) {
	for _, a := range g.Attempts {
		said += a.Error
	}
	end := ""
	if !g.Generation.ClosedAt.IsZero() {
		end = ", given up at " + clockOf(g.Generation.ClosedAt)
		if reason := g.Generation.Reason; reason != "" && !strings.Contains(said, reason) {
			end += ": " + plain(reason)
		}
	}
	p.printf("  generation %d, begun at %s%s\n", g.Generation.Number, clockOf(g.Generation.OpenedAt), end)
	for _, a := range g.Attempts {
		p.printf("    %s\n", p.attemptStory(a))
		for _, i := range g.Instances {
			if i.AttemptID == a.ID {
				p.printf("      %s\n", instanceStory(i))
			}
		}
		if a.Console != "" {
			p.printf("      its console ends with\n")
			for line := range strings.SplitSeq(a.Console, "\n") {
				p.printf("        %s %s\n", p.paint(grey, "|"), plain(strings.TrimRight(line, "\r")))
			}
		}
	}
}

func (p *printer) attemptStory(a dormouse.LaunchAttempt) string {
	text := plain(a.Offering.String()) + ", asked for at " + clockOf(a.OpenedAt) + ": "
	switch a.State {
	case dormouse.AttemptAccepted:
		return text + p.paint(green, "accepted")
	case dormouse.AttemptOpen:
		return text + p.paint(yellow, "no answer yet")
	}
	return text + p.paint(red, "refused") + ": " + plain(a.Error)
}

// instanceStory tells the phases of an instance, as far as it came.
func instanceStory(i dormouse.Instance) string {
	text := fmt.Sprintf("instance %s", plain(i.ID))
	for _, phase := range []struct {
		at         time.Time
		was, never string
	}{
		{i.LaunchedAt, "launched", ""},
		{i.RunningAt, "running", "never seen running"},
		{i.AttachedAt, "attached", "never attached"},
		{i.StoppingAt, "terminated", ""},
		{i.EndedAt, "ended", ""},
	} {
		switch {
		case !phase.at.IsZero():
			text += ", " + phase.was + " " + clockOf(phase.at)
		case phase.never != "" && (!i.EndedAt.IsZero() || !i.StoppingAt.IsZero()):
			text += ", " + phase.never
		}
	}
	if i.TerminationRefused != "" {
		text += ", cannot be terminated: " + plain(i.TerminationRefused)
	}
	if i.StateReason != "" {
		text += " (" + plain(i.StateReason) + ")"
	}
	return text
}

func clockOf(t time.Time) string { return t.Local().Format("15:04:05") }
