package ec2sim

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestInstanceLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{stopping: 3 * time.Second}
		s := newServer(t, Options{Boot: boot.start, BootDelay: 5 * time.Second})
		client := newClient(s)

		launched := run(t, client).Instances[0]
		id := *launched.InstanceId
		state := func(want types.InstanceStateName) types.Instance {
			t.Helper()
			synctest.Wait()
			inst := describeOne(t, client, id)
			if inst.State.Name != want {
				t.Fatalf("after %v the instance is %s; want %s", time.Since(*launched.LaunchTime), inst.State.Name, want)
			}
			return inst
		}
		if inst := state(types.InstanceStateNamePending); inst.PublicIpAddress != nil || inst.StateReason == nil {
			t.Errorf("pending with public address %v and reason %v", aws.ToString(inst.PublicIpAddress), inst.StateReason)
		}
		time.Sleep(5*time.Second - 1)
		state(types.InstanceStateNamePending)
		time.Sleep(time.Nanosecond)
		if inst := state(types.InstanceStateNameRunning); aws.ToString(inst.PublicIpAddress) == "" {
			t.Error("running without a public address")
		}

		time.Sleep(90 * time.Second)
		change := terminate(t, client, id).TerminatingInstances[0]
		if change.PreviousState.Name != types.InstanceStateNameRunning || change.CurrentState.Name != types.InstanceStateNameShuttingDown {
			t.Errorf("terminated from %s to %s", change.PreviousState.Name, change.CurrentState.Name)
		}
		if inst := state(types.InstanceStateNameShuttingDown); *inst.StateReason.Code != "Client.UserInitiatedShutdown" {
			t.Errorf("state reason %s", *inst.StateReason.Code)
		}
		time.Sleep(3 * time.Second)
		if inst := state(types.InstanceStateNameTerminated); !strings.HasPrefix(*inst.StateTransitionReason, "User initiated (") {
			t.Errorf("transition reason %q", *inst.StateTransitionReason)
		}
		if m := boot.machine(t, id); !m.stopped || !m.discarded {
			t.Errorf("stopped %t, discarded %t", m.stopped, m.discarded)
		}
		again := terminate(t, client, id).TerminatingInstances[0]
		if again.PreviousState.Name != types.InstanceStateNameTerminated || again.CurrentState.Name != types.InstanceStateNameTerminated {
			t.Errorf("the second termination went from %s to %s", again.PreviousState.Name, again.CurrentState.Name)
		}

		time.Sleep(time.Hour - 1)
		state(types.InstanceStateNameTerminated)
		time.Sleep(time.Nanosecond)
		_, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
		wantCode(t, err, "InvalidInstanceID.NotFound")

		l := s.Ledger()
		if l.Alive() != 0 || l.Started != 1 || len(l.Instances) != 1 {
			t.Fatalf("ledger: %d alive of %d", l.Alive(), l.Started)
		}
		e := l.Instances[0]
		if got := e.StoppingAt.Sub(e.RunningAt); got != 90*time.Second {
			t.Errorf("it ran for %v", got)
		}
		if e.EndedBy != DefaultAccessKeyID || e.AskedBy != DefaultAccessKeyID {
			t.Errorf("asked for by %q, ended by %q", e.AskedBy, e.EndedBy)
		}
		if want := 0.0104 * 90 / 3600; math.Abs(e.CostUSD-want) > 1e-12 || l.CostUSD != e.CostUSD {
			t.Errorf("it cost %v, in all %v; want %v", e.CostUSD, l.CostUSD, want)
		}
	})
}

func TestCostHasAMinimum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{BootDelay: time.Minute})
		client := newClient(s)
		short := *run(t, client).Instances[0].InstanceId
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		never := *run(t, client).Instances[0].InstanceId
		time.Sleep(30 * time.Second)
		terminate(t, client, short, never)
		synctest.Wait()
		for _, e := range s.Ledger().Instances {
			want := map[string]float64{short: 0.0104 / 60, never: 0}[e.ID]
			if math.Abs(e.CostUSD-want) > 1e-12 {
				t.Errorf("%s cost %v; want %v", e.ID, e.CostUSD, want)
			}
		}
	})
}

func TestPowerOffFollowsShutdownBehaviour(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*ec2.RunInstancesInput)
		want   types.InstanceStateName
	}{
		{"default", func(*ec2.RunInstancesInput) {}, types.InstanceStateNameStopped},
		{"stop", func(in *ec2.RunInstancesInput) {
			in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorStop
		}, types.InstanceStateNameStopped},
		{"terminate", func(in *ec2.RunInstancesInput) {
			in.InstanceInitiatedShutdownBehavior = types.ShutdownBehaviorTerminate
		}, types.InstanceStateNameTerminated},
		{"spot", func(in *ec2.RunInstancesInput) {
			in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
		}, types.InstanceStateNameTerminated},
		{"instance store", func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-00000001") }, types.InstanceStateNameTerminated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				boot := &fakeBoot{}
				s := newServer(t, Options{Boot: boot.start, Images: []Image{{ID: "ami-00000001", RootDeviceType: rootInstanceStore}}})
				client := newClient(s)
				id := *run(t, client, tc.change).Instances[0].InstanceId
				time.Sleep(defaultBootDelay)
				synctest.Wait()
				m := boot.machine(t, id)
				m.PowerOff()
				m.PowerOff()
				synctest.Wait()
				inst := describeOne(t, client, id)
				if inst.State.Name != tc.want || *inst.StateReason.Code != "Client.InstanceInitiatedShutdown" {
					t.Errorf("%s, %s; want %s", inst.State.Name, *inst.StateReason.Code, tc.want)
				}
				if wantDiscarded := tc.want == types.InstanceStateNameTerminated; m.discarded != wantDiscarded {
					t.Errorf("its disk was discarded: %t", m.discarded)
				}
				terminate(t, client, id)
				synctest.Wait()
				if !m.discarded || s.Ledger().Alive() != 0 {
					t.Errorf("after the termination: discarded %t, %d alive", m.discarded, s.Ledger().Alive())
				}
			})
		})
	}
}

func TestMachineThatCanNotBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{fail: errors.New("no such kernel")}
		s := newServer(t, Options{Boot: boot.start})
		client := newClient(s)
		id := *run(t, client).Instances[0].InstanceId
		time.Sleep(defaultBootDelay)
		synctest.Wait()
		inst := describeOne(t, client, id)
		if inst.State.Name != types.InstanceStateNameTerminated || *inst.StateReason.Code != "Server.InternalError" {
			t.Errorf("%s, %s", inst.State.Name, *inst.StateReason.Code)
		}
		if text := consoleOf(t, client, id); !strings.Contains(text, "no such kernel") {
			t.Errorf("console: %q", text)
		}
	})
}

func TestTerminatedWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start})
		client := newClient(s)
		id := *run(t, client).Instances[0].InstanceId
		terminate(t, client, id)
		synctest.Wait()
		if inst := describeOne(t, client, id); inst.State.Name != types.InstanceStateNameTerminated {
			t.Errorf("it is %s", inst.State.Name)
		}
		if len(boot.machines) != 0 {
			t.Error("it was booted")
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{stopping: time.Second}
		s := newServer(t, Options{Boot: boot.start})
		client := newClient(s)
		run(t, client, count(3))
		time.Sleep(defaultBootDelay)
		synctest.Wait()
		stopped := *run(t, client).Instances[0].InstanceId
		time.Sleep(defaultBootDelay)
		synctest.Wait()
		boot.machine(t, stopped).PowerOff()
		time.Sleep(time.Second)
		run(t, client) // pending
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l := s.Ledger(); l.Alive() != 0 || l.Started != 5 {
			t.Errorf("%d alive of %d", l.Alive(), l.Started)
		}
		_, err := client.RunInstances(t.Context(), launchInput())
		wantCode(t, err, "Unavailable")
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("the second Close: %v", err)
		}
	})
}
