package ec2sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// begin starts an instance's life; s.mu is held.
func (s *Server) begin(inst *instance) {
	s.instances = append(s.instances, inst)
	s.byID[inst.id] = inst
	s.living++
	s.record(inst)
	s.foretell(inst, inst.launchedAt)
	m := s.machine(inst)
	s.machines.Go(func() { s.live(inst, m) })
}

func (s *Server) machine(inst *instance) Machine {
	return Machine{
		ID:           inst.id,
		ImageID:      inst.image.ID,
		InstanceType: inst.kind.name,
		Region:       s.opts.Region,
		Zone:         inst.zone.name,
		PrivateIP:    inst.privateIP,
		MAC:          inst.mac(),
		Command:      slices.Clone(inst.image.BootCommand),
		UserData:     slices.Clone(inst.userData),
		Console:      inst.console,
		Metadata:     newMetadataService(s, inst),
		MetadataIPv6: inst.metadata.ipv6,
		PowerOff:     func() { s.poweredOff(inst) },
	}
}

// live is the life of an instance. It returns when nothing of the machine is
// left.
func (s *Server) live(inst *instance, m Machine) {
	pending := time.NewTimer(s.opts.BootDelay)
	defer pending.Stop()
	if s.await(inst, pending.C) {
		s.gone(inst)
		return
	}
	process, err := s.boot(inst, m)
	if err != nil {
		fmt.Fprintf(m.Console, "[dormouse] this machine could not be booted: %v\n", err)
		s.mu.Lock()
		s.end(inst, reasonNotBooted, "")
		s.mu.Unlock()
		s.gone(inst)
		return
	}
	s.booted(inst, process)

	s.await(inst, nil)
	// The end is bounded by Stop itself, and must be reached also when the
	// endpoint closes.
	if err := process.Stop(context.WithoutCancel(s.ctx)); err != nil {
		s.opts.Logger.Error("a machine of the local EC2 endpoint could not be ended", "instance", inst.id, "error", err)
	}
	s.gone(inst)
}

// boot starts the machine, unless the scenario keeps it from that.
func (s *Server) boot(inst *instance, m Machine) (Process, error) {
	s.mu.Lock()
	rule := inst.neverBoots
	s.mu.Unlock()
	if rule == "" {
		return s.opts.Boot(s.ctx, m)
	}
	fmt.Fprintf(m.Console, "[dormouse] this machine runs nothing: the scenario's rule %q keeps it from booting\n", rule)
	return nothing{}, nil
}

// nothing is a machine without a process.
type nothing struct{}

func (nothing) Stop(context.Context) error { return nil }
func (nothing) Discard() error             { return nil }

// booted notes that the boot command has started.
func (s *Server) booted(inst *instance, process Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	inst.process = process
	if inst.state != dormouse.InstancePending {
		return // its end was asked for meanwhile
	}
	now := time.Now()
	inst.state = dormouse.InstanceRunning
	inst.stateReason = reason{}
	inst.runningSince = now
	if inst.runningAt.IsZero() {
		inst.runningAt = now
	}
}

// poweredOff follows the instance's shutdown behaviour.
func (s *Server) poweredOff(inst *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inst.behaviour == behaviourTerminate {
		s.end(inst, reasonMachine, "")
		return
	}
	if inst.state != dormouse.InstancePending && inst.state != dormouse.InstanceRunning {
		return
	}
	s.leave(inst, dormouse.InstanceStopping, reasonMachine)
	close(inst.ending)
}

// end lets an instance be terminated, whatever it does; by is the access key
// that asked. One that has ended or is ending keeps its reason. s.mu is held.
func (s *Server) end(inst *instance, why reason, by string) {
	switch inst.state {
	case dormouse.InstancePending, dormouse.InstanceRunning:
		s.leave(inst, dormouse.InstanceShuttingDown, why)
		close(inst.ending)
	case dormouse.InstanceStopping:
		s.leave(inst, dormouse.InstanceShuttingDown, why)
	case dormouse.InstanceStopped:
		s.leave(inst, dormouse.InstanceTerminated, why)
		s.settle(inst)
		s.machines.Go(func() { s.discard(inst) })
	default:
		return
	}
	inst.endedBy = by
}

// leave takes an instance out of use.
func (s *Server) leave(inst *instance, to dormouse.InstanceState, why reason) {
	now := time.Now()
	inst.stopBilling(now, why)
	inst.state = to
	inst.stateReason = why
	inst.stoppingAt = now
	inst.transition = why.message
	if why == reasonUser {
		inst.transition = "User initiated (" + now.UTC().Format("2006-01-02 15:04:05") + " GMT)"
	}
}

// gone notes that nothing of the machine is left.
func (s *Server) gone(inst *instance) {
	s.mu.Lock()
	if inst.state == dormouse.InstanceStopping {
		inst.state = dormouse.InstanceStopped
		s.mu.Unlock()
		return
	}
	inst.state = dormouse.InstanceTerminated
	s.settle(inst)
	s.mu.Unlock()
	s.discard(inst)
}

// discard removes the disk of a machine that was terminated.
func (s *Server) discard(inst *instance) {
	s.mu.Lock()
	process := inst.process
	s.mu.Unlock()
	if process == nil {
		return // it never booted
	}
	if err := process.Discard(); err != nil {
		s.opts.Logger.Warn("the disk of a machine of the local EC2 endpoint could not be removed", "instance", inst.id, "error", err)
	}
}

// settle closes the books of an instance that has just ended.
func (s *Server) settle(inst *instance) {
	inst.endedAt = time.Now()
	s.dispossess(inst, inst.endedAt)
	inst.userData = nil // nobody can ask for it any more
	inst.console.trim()
	s.living--
	s.ended = append(s.ended, inst)
	if l := inst.launch; l != nil {
		if l.living--; l.living == 0 {
			l.settledAt = inst.endedAt
			if l.key.token != "" {
				s.settled = append(s.settled, l)
			}
		}
	}
}
