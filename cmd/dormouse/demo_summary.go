package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// summary is what a demo came to; --json prints it.
type summary struct {
	Result           string         `json:"result"`
	Builds           []buildSummary `json:"builds"`
	Generations      int            `json:"generations"` // that the master brought an instance up for
	InstancesStarted int            `json:"instances_started"`
	InstancesAlive   int            `json:"instances_alive"`
	CostUSD          float64        `json:"cost_usd"`
	APICalls         map[string]int `json:"api_calls"`
	// Scenario is how often each of its rules hit.
	Scenario []ec2sim.RuleCount `json:"scenario,omitempty"`
}

type buildSummary struct {
	Builder      string `json:"builder"`
	Number       int    `json:"number"`
	Result       string `json:"result"`
	InstanceID   string `json:"instance_id"`
	InstanceType string `json:"instance_type"`
	Phases       phases `json:"phases_ms"`

	request   dormouse.BuildRequest
	instance  dormouse.Instance
	firstStep time.Time
	finished  time.Time
	toEnd     *time.Duration // finished → terminated
}

// phases are how long each part of a build took, in milliseconds. A build on
// an instance that was there already has waited for none of the first three.
type phases struct {
	RequestToLaunch     int64 `json:"request_to_launch"`
	LaunchToRunning     int64 `json:"launch_to_running"`
	RunningToAttached   int64 `json:"running_to_attached"`
	AttachedToFirstStep int64 `json:"attached_to_first_step"`
	FirstStepToFinished int64 `json:"first_step_to_finished"`
}

// summarize reads back what became of the requests.
func (d *demo) summarize(ctx context.Context, requests []dormouse.BuildRequest) (*summary, error) {
	instances, err := d.client.Instances(ctx, true)
	if err != nil {
		return nil, err
	}
	byID := map[string]dormouse.Instance{}
	type generation struct {
		worker string
		number int64
	}
	generations := map[generation]bool{}
	for _, i := range instances {
		byID[i.ID] = i
		generations[generation{i.Worker, i.Generation}] = true
	}
	worst := dormouse.Success
	s := &summary{Builds: []buildSummary{}, Generations: len(generations)}
	for _, r := range requests {
		if r.Result != nil {
			worst = dormouse.Worst(worst, *r.Result)
		}
		if r.BuildID == 0 {
			continue
		}
		b, err := d.client.Build(ctx, r.BuildID)
		if err != nil {
			return nil, err
		}
		steps, err := d.client.Steps(ctx, b.ID)
		if err != nil {
			return nil, err
		}
		s.Builds = append(s.Builds, summarizeBuild(r, b, steps, byID[b.InstanceID]))
	}
	s.Result = worst.String()
	return s, nil
}

func summarizeBuild(r dormouse.BuildRequest, b dormouse.Build, steps []dormouse.Step, i dormouse.Instance) buildSummary {
	out := buildSummary{
		Builder: b.Builder, Number: b.Number, Result: "running",
		InstanceID: b.InstanceID, InstanceType: i.InstanceType,
		request: r, instance: i, firstStep: b.FinishedAt, finished: b.FinishedAt,
	}
	if b.Result != nil {
		out.Result = b.Result.String()
	}
	if len(steps) > 0 {
		out.firstStep = steps[0].StartedAt
	}
	return out
}

// setPhases works the phases out. When the instance ran, the endpoint knows better
// than the master, which only looks now and then.
func (b *buildSummary) setPhases(runningAt time.Time) {
	// Each moment no earlier than the one before: an instance may have been
	// there before the request was.
	moment := b.request.SubmittedAt
	phase := func(next time.Time) int64 {
		if next.Before(moment) {
			return 0
		}
		took := next.Sub(moment)
		moment = next
		return took.Milliseconds()
	}
	b.Phases = phases{
		RequestToLaunch:     phase(b.instance.LaunchedAt),
		LaunchToRunning:     phase(runningAt),
		RunningToAttached:   phase(b.instance.AttachedAt),
		AttachedToFirstStep: phase(b.firstStep),
		FirstStepToFinished: phase(b.finished),
	}
}

// settle adds what only the endpoint's ledger knows.
func (s *summary) settle(l ec2sim.Ledger) {
	s.InstancesStarted, s.InstancesAlive, s.CostUSD, s.APICalls = l.Started, l.Alive(), math.Round(l.CostUSD*1e6)/1e6, l.Calls
	s.Scenario = l.Scenario
	entries := map[string]ec2sim.LedgerEntry{}
	for _, i := range l.Instances {
		entries[i.ID] = i
	}
	for i := range s.Builds {
		b := &s.Builds[i]
		entry := entries[b.InstanceID]
		if !entry.EndedAt.IsZero() {
			b.toEnd = new(entry.EndedAt.Sub(b.finished))
		}
		b.setPhases(entry.RunningAt)
	}
}

// report prints the summary.
func (d *demo) report(w io.Writer, s *summary) error {
	if d.json {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	ms := func(v int64) string { return fine(time.Duration(v) * time.Millisecond) }
	d.printf("\n")
	for _, b := range s.Builds {
		result := b.Result
		var r dormouse.Result
		if r.UnmarshalText([]byte(result)) == nil {
			result = d.result(&r)
		}
		end := "it is alive"
		if b.toEnd != nil {
			end = "terminated +" + fine(*b.toEnd)
		}
		p := b.Phases
		d.printf("%s  %s on %s (%s)\n", d.bold(fmt.Sprintf("build %s/%d", b.Builder, b.Number)), result, dash(b.InstanceID), dash(b.InstanceType))
		d.printf("  launched +%s, running +%s, attached +%s, first step +%s, finished +%s, %s\n",
			ms(p.RequestToLaunch), ms(p.LaunchToRunning), ms(p.RunningToAttached), ms(p.AttachedToFirstStep), ms(p.FirstStepToFinished), end)
	}
	var calls []string
	for _, action := range slices.Sorted(maps.Keys(s.APICalls)) {
		calls = append(calls, fmt.Sprintf("%s %d", action, s.APICalls[action]))
	}
	alive := fmt.Sprintf("%d alive", s.InstancesAlive)
	if s.InstancesAlive > 0 {
		alive = d.paint(red, alive)
	}
	d.printf("\n%s started, %s. On AWS it would have cost $%.4f (a minute at least for each instance).\n", count(s.InstancesStarted, "instance"), alive, s.CostUSD)
	d.printf("EC2 API calls: %s\n", strings.Join(calls, ", "))
	for _, r := range s.Scenario {
		d.printf("Scenario: %s: %s\n", r.Name, count(r.Hits, "time"))
	}
	return nil
}
