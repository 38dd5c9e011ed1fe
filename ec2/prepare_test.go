package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// belongings answers for volumes and one address. A volume is attached some
// seconds after it was asked for.
type belongings struct {
	mu      sync.Mutex
	volumes map[string]*belonging
	holder  string           // instance that has the address
	fails   map[string]error // what an action answers, once; it is carried out all the same
	refuses map[string]error // what an action answers, each time
	takes   time.Duration
}

type belonging struct {
	zone, state, instance, device string
	at                            time.Time
}

func (b *belongings) answer(form url.Values) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := form.Get("Action")
	if err := b.refuses[name]; err != nil {
		return "", err
	}
	err := b.fails[name]
	delete(b.fails, name)
	switch name {
	case "DescribeVolumes":
		return b.describe(form), err
	case "AttachVolume":
		v := b.volumes[form.Get("VolumeId")]
		if v.instance != "" {
			return refuse("VolumeInUse", "vol is already attached to an instance")
		}
		v.instance, v.device, v.at = form.Get("InstanceId"), form.Get("Device"), time.Now()
		return "<status>attaching</status>", err
	case "DescribeAddresses":
		if form.Get("PublicIp.1") != "203.0.113.1" {
			return refuse("InvalidAddress.NotFound", "Address not found.")
		}
		held := ""
		if b.holder != "" {
			held = "<associationId>eipassoc-1</associationId><instanceId>" + b.holder + "</instanceId>"
		}
		return "<addressesSet><item><publicIp>203.0.113.1</publicIp><allocationId>eipalloc-1</allocationId>" + held + "</item></addressesSet>", err
	case "AssociateAddress":
		if b.holder != "" {
			return refuse("Resource.AlreadyAssociated", "resource eipalloc-1 is already associated")
		}
		if form.Get("AllowReassociation") != "false" || form.Get("AllocationId") != "eipalloc-1" {
			return refuse("InvalidParameterValue", "it may steal")
		}
		b.holder = form.Get("InstanceId")
		return "<associationId>eipassoc-1</associationId>", err
	case "DisassociateAddress":
		b.holder = ""
		return "<return>true</return>", err
	case "DescribeSubnets":
		id := form.Get("SubnetId.1")
		return "<subnetSet><item><subnetId>" + id + "</subnetId><availabilityZone>us-east-1" + id[len(id)-1:] + "</availabilityZone></item></subnetSet>", err
	case "DescribeImages":
		return oneImage("ami-1"), err
	}
	return "", fmt.Errorf("unexpected call %s", name)
}

func (b *belongings) describe(form url.Values) string {
	var out strings.Builder
	for id, v := range b.volumes {
		if !slices.Contains(listed(form, "Filter.1.Value"), id) {
			continue
		}
		state, attachments := "available", ""
		if v.instance != "" {
			state = "in-use"
			phase := "attaching"
			if time.Since(v.at) >= b.takes {
				phase = "attached"
			}
			attachments = "<item><instanceId>" + v.instance + "</instanceId><device>" + v.device + "</device><status>" + phase + "</status></item>"
		}
		if v.state != "" {
			state = v.state
		}
		fmt.Fprintf(&out, "<item><volumeId>%s</volumeId><availabilityZone>%s</availabilityZone><status>%s</status><attachmentSet>%s</attachmentSet></item>",
			id, v.zone, state, attachments)
	}
	return "<volumeSet>" + out.String() + "</volumeSet>"
}

func twoVolumes() *belongings {
	return &belongings{takes: 5 * time.Second, fails: map[string]error{}, refuses: map[string]error{}, volumes: map[string]*belonging{
		"vol-1": {zone: "us-east-1b"}, "vol-2": {zone: "us-east-1b"},
	}}
}

var needy = LaunchSpec{
	Worker: "bot1", InstanceTypes: []string{"m5.large"}, AMI: "ami-1",
	ElasticIP: "203.0.113.1", Volumes: []Volume{{"vol-1", "/dev/sdh"}, {"vol-2", "/dev/sdi"}},
}

// mutations are the calls that change something.
func mutations(e *endpoint) []string {
	var calls []string
	for _, a := range e.actions() {
		if !strings.HasPrefix(a, "Describe") {
			calls = append(calls, a)
		}
	}
	return calls
}

func TestPrepare(t *testing.T) {
	lost := errors.New("connection reset")
	tests := []struct {
		name     string
		change   func(*belongings)
		code     dormouse.Code
		says     string
		calls    []string // that change something
		atLeast  time.Duration
		within   time.Duration
		repeated bool // a second call finds nothing to do
	}{
		{name: "everything is free", calls: []string{"AttachVolume", "AttachVolume", "AssociateAddress"}, atLeast: 5 * time.Second, within: 9 * time.Second, repeated: true},
		{name: "all is there", change: func(b *belongings) {
			*b.volumes["vol-1"] = belonging{instance: "i-1", device: "/dev/sdh"}
			*b.volumes["vol-2"] = belonging{instance: "i-1", device: "/dev/sdi"}
			b.holder = "i-1"
		}, within: time.Second, repeated: true},
		{name: "half is there", change: func(b *belongings) {
			*b.volumes["vol-1"] = belonging{instance: "i-1", device: "/dev/sdh"}
		}, calls: []string{"AttachVolume", "AssociateAddress"}, within: 9 * time.Second, repeated: true},
		{name: "volume of another", change: func(b *belongings) {
			*b.volumes["vol-2"] = belonging{instance: "i-2", device: "/dev/sdi"}
		}, code: dormouse.Configuration, says: "volume vol-2 is in use by instance i-2", calls: []string{"AttachVolume"}, within: time.Second},
		{name: "volume unknown", change: func(b *belongings) { delete(b.volumes, "vol-2") }, code: dormouse.Configuration, says: "volume vol-2 does not exist in us-east-1", within: time.Second},
		{name: "volume stuck", change: func(b *belongings) { b.takes = time.Hour }, code: dormouse.Unavailable, says: "i-1 could not be given its volumes and address", calls: []string{"AttachVolume", "AttachVolume"}, atLeast: prepareTimeout, within: prepareTimeout + time.Second},
		{name: "address of another", change: func(b *belongings) { b.holder = "i-2" }, code: dormouse.Configuration, says: "address 203.0.113.1 is taken by instance i-2", calls: []string{"AttachVolume", "AttachVolume"}, within: 9 * time.Second},
		{
			name: "lost answers", change: func(b *belongings) { b.fails["AttachVolume"], b.fails["AssociateAddress"] = lost, lost },
			// The SDK repeats each; the repetition is told that it is in use.
			calls: []string{"AttachVolume", "AttachVolume", "AttachVolume", "AssociateAddress", "AssociateAddress"}, within: 20 * time.Second, repeated: true,
		},
		{name: "not known to be running yet", change: func(b *belongings) {
			b.fails["AttachVolume"] = apiError{400, "IncorrectState", "Instance 'i-1' is not 'running'."}
		}, calls: []string{"AttachVolume", "AttachVolume", "AssociateAddress"}, within: 20 * time.Second, repeated: true},
		{name: "never running", change: func(b *belongings) {
			b.refuses["AttachVolume"] = apiError{400, "IncorrectState", "Instance 'i-1' is not 'running'."}
		}, code: dormouse.Configuration, says: "not 'running'", atLeast: instanceSettles, within: instanceSettles + 5*time.Second},
		{name: "no rights", change: func(b *belongings) {
			b.refuses["AttachVolume"] = apiError{403, "UnauthorizedOperation", "You are not authorized"}
		}, code: dormouse.Configuration, says: "IAM", calls: []string{"AttachVolume"}, within: time.Second},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := twoVolumes()
				if tt.change != nil {
					tt.change(b)
				}
				e := &endpoint{answer: b.answer}
				a := openAccount(t, e)
				start := time.Now()
				err := a.Prepare(t.Context(), needy, "i-1")
				wantCode(t, err, tt.code, tt.says)
				if took := time.Since(start); took < tt.atLeast || took > tt.within {
					t.Errorf("it took %v, want %v to %v", took, tt.atLeast, tt.within)
				}
				if diff := cmp.Diff(tt.calls, mutations(e)); diff != "" && tt.atLeast != instanceSettles {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				if tt.repeated {
					before := len(mutations(e))
					if err := a.Prepare(t.Context(), needy, "i-1"); err != nil || len(mutations(e)) != before {
						t.Errorf("again: %v, %v", err, mutations(e)[before:])
					}
				}
			})
		})
	}
}

func TestPrepareNothing(t *testing.T) {
	noEnvironment(t)
	e := &endpoint{}
	spec := LaunchSpec{InstanceTypes: []string{"m"}, AMI: "ami-1"}
	a := openAccount(t, e)
	if err := a.Prepare(t.Context(), spec, "i-1"); err != nil || spec.NeedsPreparation() || spec.Exclusive() {
		t.Error(err)
	}
	if err := a.Release(t.Context(), spec, "i-1"); err != nil {
		t.Error(err)
	}
	if free, why, err := a.Free(t.Context(), spec); !free || why != "" || err != nil {
		t.Error(why, err)
	}
	if len(e.actions()) > 0 {
		t.Errorf("asked %v", e.actions())
	}
	if spec.Volumes = needy.Volumes; !spec.NeedsPreparation() || !spec.Exclusive() {
		t.Error("volumes need no preparation")
	}
}

func TestPrepareGivenUp(t *testing.T) {
	noEnvironment(t)
	synctest.Test(t, func(t *testing.T) {
		b := twoVolumes()
		b.takes = time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := openAccount(t, &endpoint{answer: b.answer}).Prepare(ctx, needy, "i-1")
		wantCode(t, err, dormouse.Unavailable, "given up waiting for")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestVolumesAreWatchedTogether: what each of many waits for is asked of EC2
// once.
func TestVolumesAreWatchedTogether(t *testing.T) {
	noEnvironment(t)
	synctest.Test(t, func(t *testing.T) {
		b := &belongings{takes: 9 * time.Second, volumes: map[string]*belonging{}}
		const workers = 40
		for i := range workers {
			b.volumes[fmt.Sprintf("vol-%d", i)] = &belonging{zone: "us-east-1b"}
		}
		e := &endpoint{answer: b.answer}
		a := openAccount(t, e, WithRateScale(0))
		var wg sync.WaitGroup
		for i := range workers {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 37 * time.Millisecond) // the bubble's
				spec := LaunchSpec{Volumes: []Volume{{fmt.Sprintf("vol-%d", i), "/dev/sdh"}}}
				if err := a.Prepare(t.Context(), spec, fmt.Sprintf("i-%d", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		// One look by each newcomer, and then some every two seconds for all.
		if n := len(e.sent("DescribeVolumes")); n > workers+25 {
			t.Errorf("%d looks for %d workers", n, workers)
		}
		if n := len(e.sent("AttachVolume")); n != workers {
			t.Errorf("%d volumes attached, want %d", n, workers)
		}
		if len(a.volumeWatch.wanted) > 0 {
			t.Errorf("still wanted: %v", a.volumeWatch.wanted)
		}
	})
}

func TestRelease(t *testing.T) {
	tests := []struct {
		name   string
		holder string
		change func(*belongings)
		code   dormouse.Code
		calls  []string
	}{
		{name: "ours", holder: "i-1", calls: []string{"DisassociateAddress"}},
		{name: "nobody's"},
		{name: "another's", holder: "i-2"},
		{name: "gone meanwhile", holder: "i-1", change: func(b *belongings) {
			b.refuses["DisassociateAddress"] = apiError{400, "InvalidAssociationID.NotFound", "x"}
		}, calls: []string{"DisassociateAddress"}},
		{name: "no rights", holder: "i-1", change: func(b *belongings) {
			b.refuses["DisassociateAddress"] = apiError{403, "UnauthorizedOperation", "x"}
		}, calls: []string{"DisassociateAddress"}, code: dormouse.Configuration},
		{name: "cannot be asked", change: func(b *belongings) {
			b.refuses["DescribeAddresses"] = apiError{403, "UnauthorizedOperation", "x"}
		}, code: dormouse.Configuration},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := twoVolumes()
			b.holder = tt.holder
			if tt.change != nil {
				tt.change(b)
			}
			e := &endpoint{answer: b.answer}
			wantCode(t, openAccount(t, e).Release(t.Context(), needy, "i-1"), tt.code)
			if diff := cmp.Diff(tt.calls, mutations(e)); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReleaseGivesUp(t *testing.T) {
	noEnvironment(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := openAccount(t, hangs{}).Release(t.Context(), needy, "i-1")
		wantCode(t, err, dormouse.Unavailable)
		if took := time.Since(start); took > releaseTimeout {
			t.Errorf("it held the end up for %v", took)
		}
	})
}

func TestFree(t *testing.T) {
	tests := []struct {
		name   string
		change func(*belongings)
		why    string
		code   dormouse.Code
	}{
		{name: "all"},
		{name: "volume", change: func(b *belongings) { b.volumes["vol-2"].instance = "i-9" }, why: "volume vol-2 is held by instance i-9 (attached)"},
		{name: "address", change: func(b *belongings) { b.holder = "i-9" }, why: "address 203.0.113.1 is taken by instance i-9"},
		{name: "no volume", change: func(b *belongings) { delete(b.volumes, "vol-1") }, code: dormouse.Configuration},
		{name: "broken volume", change: func(b *belongings) { b.volumes["vol-1"].state = "error" }, code: dormouse.Configuration},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := twoVolumes()
			if tt.change != nil {
				tt.change(b)
			}
			free, why, err := openAccount(t, &endpoint{answer: b.answer}).Free(t.Context(), needy)
			wantCode(t, err, tt.code)
			if why != tt.why || free != (tt.why == "" && tt.code == "") {
				t.Errorf("free %v, %q; want %q", free, why, tt.why)
			}
		})
	}
	spec := needy
	spec.ElasticIP = "203.0.113.2"
	_, _, err := openAccount(t, &endpoint{answer: twoVolumes().answer}).Free(t.Context(), spec)
	wantCode(t, err, dormouse.Configuration, "elastic_ip 203.0.113.2 is no address of this account in us-east-1")
}

func TestResolveOfferings(t *testing.T) {
	o := func(zone, subnet string) dormouse.Offering {
		return dormouse.Offering{InstanceType: "m5.large", Zone: zone, Subnet: subnet, Market: dormouse.OnDemand}
	}
	tests := []struct {
		name   string
		change func(*LaunchSpec, *belongings)
		want   []dormouse.Offering
		says   string
	}{
		{name: "no volumes", change: func(s *LaunchSpec, _ *belongings) { s.Volumes = nil }, want: []dormouse.Offering{o("", "")}},
		{name: "pinned", want: []dormouse.Offering{o("us-east-1b", "")}},
		{name: "placed there", change: func(s *LaunchSpec, _ *belongings) { s.Placement = "b" }, want: []dormouse.Offering{o("us-east-1b", "")}},
		{name: "placed elsewhere", change: func(s *LaunchSpec, _ *belongings) { s.Placement = "a" }, says: "placed in us-east-1a, but its volumes are in us-east-1b"},
		{name: "some subnets", change: func(s *LaunchSpec, _ *belongings) { s.SubnetIDs = []string{"subnet-a", "subnet-b"} }, want: []dormouse.Offering{o("us-east-1b", "subnet-b")}},
		{name: "no subnet", change: func(s *LaunchSpec, _ *belongings) { s.SubnetIDs = []string{"subnet-a", "subnet-c"} }, says: "subnet-a in us-east-1a, subnet-c in us-east-1c"},
		{name: "two zones", change: func(_ *LaunchSpec, b *belongings) { b.volumes["vol-2"].zone = "us-east-1a" }, says: "volume vol-1 is in us-east-1b and volume vol-2 in us-east-1a"},
		{name: "unknown", change: func(_ *LaunchSpec, b *belongings) { delete(b.volumes, "vol-2") }, says: "vol-2 does not exist"},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, b := needy, twoVolumes()
			if tt.change != nil {
				tt.change(&spec, b)
			}
			code := dormouse.Code("")
			if tt.says != "" {
				code = dormouse.Configuration
			}
			a := openAccount(t, &endpoint{answer: b.answer})
			got, err := a.ResolveOfferings(t.Context(), spec)
			wantCode(t, err, code, tt.says)
			if diff := cmp.Diff(tt.want, got); err == nil && diff != "" {
				t.Errorf("offerings (-want +got):\n%s", diff)
			}
			// A launch of an offering that was not resolved ends up in the same
			// place, or is refused.
			spec.Region = "us-east-1"
			launch, err := a.Render(t.Context(), spec, spec.Offerings()[len(spec.Offerings())-1], 1, nil, nil)
			wantCode(t, err, code)
			if err != nil {
				return
			}
			if r, err := decodeRendered(launch); err != nil || r.Zone != tt.want[0].Zone {
				t.Errorf("rendered in %q, %v", r.Zone, err)
			}
		})
	}
	_, err := openAccount(t, &endpoint{answer: twoVolumes().answer}).Render(t.Context(), needy, needy.Offerings()[0], 2, nil, nil)
	wantCode(t, err, dormouse.Internal, "only one can have")
}
