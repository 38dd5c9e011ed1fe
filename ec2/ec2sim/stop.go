package ec2sim

import (
	"cmp"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

type instancesInput struct {
	InstanceIDs []string    `query:"InstanceId,required"`
	_           ignored     `query:"AdditionalInfo Force SkipOsShutdown"`
	_           unsimulated `query:"Hibernate"`
}

type stateChangesOutput struct {
	reply
	Changes set[stateChange] `xml:"instancesSet"`
}

// stopInstances shuts machines down whose disk stays. As with every call that
// lists ids, one that cannot be stopped spoils it.
func (c *call) stopInstances(in instancesInput) (*stateChangesOutput, error) {
	instances, err := lookUp(instanceKind, in.InstanceIDs, c.instance)
	if err != nil {
		return nil, err
	}
	for _, inst := range instances {
		switch {
		case inst.state != dormouse.InstanceRunning && inst.state != dormouse.InstanceStopping && inst.state != dormouse.InstanceStopped:
			return nil, refuse("IncorrectInstanceState", "This instance '%s' is not in a state from which it can be stopped.", inst.id)
		case inst.image.RootDeviceType != rootEBS:
			return nil, refuse("UnsupportedOperation", "The instance '%s' does not have an 'ebs' root device type and cannot be stopped.", inst.id)
		case inst.market == dormouse.Spot:
			return nil, refuse("UnsupportedOperation",
				"You can't stop the Spot Instance '%s' because it is associated with a one-time Spot Instance request.", inst.id)
		}
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	return c.change(instances, func(inst *instance) {
		if inst.state == dormouse.InstanceRunning {
			c.leave(inst, dormouse.InstanceStopping, reasonUser)
			close(inst.ending)
		}
	}), nil
}

// startInstances boots stopped machines again, from their disks.
func (c *call) startInstances(in instancesInput) (*stateChangesOutput, error) {
	instances, err := lookUp(instanceKind, in.InstanceIDs, c.instance)
	if err != nil {
		return nil, err
	}
	if c.shut {
		return nil, refuse("Unavailable", "The local endpoint is shutting down").withStatus(503)
	}
	startable := []dormouse.InstanceState{dormouse.InstancePending, dormouse.InstanceRunning, dormouse.InstanceStopped}
	for _, inst := range instances {
		if !slices.Contains(startable, inst.state) {
			return nil, refuse("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be started.", inst.id)
		}
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	return c.change(instances, func(inst *instance) {
		if inst.state == dormouse.InstanceStopped {
			c.restart(inst, c.now)
		}
	}), nil
}

// change does something to instances and tells what became of them.
func (c *call) change(instances []*instance, do func(*instance)) *stateChangesOutput {
	out := &stateChangesOutput{}
	for _, inst := range instances {
		before := inst.state
		do(inst)
		out.Changes.Items = append(out.Changes.Items, stateChange{inst.id, describeState(inst.state), describeState(before)})
	}
	return out
}

// restart begins another run of a stopped instance; s.mu is held.
func (s *Server) restart(inst *instance, now time.Time) {
	inst.state, inst.stateReason, inst.transition = dormouse.InstancePending, reasonPending, ""
	inst.restartedAt, inst.stoppingAt = now.Truncate(time.Millisecond), time.Time{}
	inst.ending = make(chan struct{})
	if s.addressOf(inst) == nil {
		inst.publicIP = s.ownPublicIP(inst)
	}
	s.foretell(inst, now)
	m := s.machine(inst)
	s.machines.Go(func() { s.live(inst, m) })
}

// launchTime is when an instance was started last, which is what EC2 calls its
// launch.
func (inst *instance) launchTime() time.Time {
	if inst.restartedAt.IsZero() {
		return inst.launchedAt
	}
	return inst.restartedAt
}

type describeInstanceStatusInput struct {
	paging
	InstanceIDs []string `query:"InstanceId"`
	Filters     []filter `query:"Filter"`
	All         bool     `query:"IncludeAllInstances"`
}

type describeInstanceStatusOutput struct {
	reply
	Statuses  set[statusAnswer] `xml:"instanceStatusSet"`
	NextToken string            `xml:"nextToken,omitempty"`
}

type statusAnswer struct {
	InstanceID     string           `xml:"instanceId"`
	Zone           string           `xml:"availabilityZone"`
	State          instanceState    `xml:"instanceState"`
	System         string           `xml:"systemStatus>status"`
	SystemChecks   set[statusCheck] `xml:"systemStatus>details"`
	Instance       string           `xml:"instanceStatus>status"`
	InstanceChecks set[statusCheck] `xml:"instanceStatus>details"`
}

type statusCheck struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
}

// checks is how an instance does: one that runs is well.
func (inst *instance) checks() string {
	return choose(inst.state == dormouse.InstanceRunning, "ok", "not-applicable")
}

var statusFields = fields[*instance]{
	"availability-zone":      instanceFields["availability-zone"],
	"instance-state-name":    instanceFields["instance-state-name"],
	"instance-state-code":    instanceFields["instance-state-code"],
	"instance-status.status": one((*instance).checks),
	"system-status.status":   one((*instance).checks),
}

// describeInstanceStatus tells how the running instances do, or all.
func (c *call) describeInstanceStatus(in describeInstanceStatusInput) (*describeInstanceStatusOutput, error) {
	if len(in.InstanceIDs) > 0 && in.MaxResults != nil {
		return nil, refuse("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	keep, err := compileFilters(in.Filters, statusFields, nil)
	if err != nil {
		return nil, err
	}
	from := c.instances
	if len(in.InstanceIDs) > 0 {
		if from, err = lookUp(instanceKind, in.InstanceIDs, c.instance); err != nil {
			return nil, err
		}
		slices.SortFunc(from, func(a, b *instance) int { return cmp.Compare(a.sequence, b.sequence) })
	}
	var found []*instance
	for _, inst := range from {
		if c.knows(inst) && (in.All || inst.state == dormouse.InstanceRunning) && keep(inst) {
			found = append(found, inst)
		}
	}
	found, next, err := page(found, func(i *instance) int64 { return i.sequence }, in.paging, pageLimit{5, 1000})
	if err != nil {
		return nil, err
	}
	return &describeInstanceStatusOutput{NextToken: next, Statuses: newSet(found, func(inst *instance) statusAnswer {
		a := statusAnswer{
			InstanceID: inst.id, Zone: inst.zone.name, State: describeState(inst.state), System: inst.checks(), Instance: inst.checks(),
		}
		if inst.state == dormouse.InstanceRunning {
			a.SystemChecks.Items = []statusCheck{{"reachability", "passed"}}
			a.InstanceChecks = a.SystemChecks
		}
		return a
	})}, nil
}
