package ec2

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/singleflight"

	"github.com/dormouse-ci/dormouse"
)

const (
	// volumesFresh is how old a look at the volumes may be, and so how often
	// all who wait for some look together. EC2 attaches a volume in a few
	// seconds.
	volumesFresh = 2 * time.Second
	// maxFilterValues is how many values a filter of a Describe… call takes.
	maxFilterValues = 200
)

// volume is what EC2 says of one at a moment.
type volume struct {
	id          string
	zone        string
	state       types.VolumeState
	shared      bool // several instances may have it at once
	attachments []attachment
}

type attachment struct {
	instance, device string
	state            types.VolumeAttachmentState
}

// volumeStep is what comes next for a volume that an instance is to have.
type volumeStep int

const (
	volumeWaits volumeStep = iota
	volumeIsToBeAttached
	volumeIsAttached
)

// nextForVolume decides what comes next for a volume that an instance is to
// have at a device. The error is one that waiting does not help.
func nextForVolume(v volume, device, instance string) (volumeStep, error) {
	for _, at := range v.attachments {
		going := at.state == types.VolumeAttachmentStateDetaching
		switch {
		case at.state == types.VolumeAttachmentStateDetached:
		case at.instance == instance && at.device != device && !going:
			return volumeWaits, dormouse.Errorf(dormouse.Configuration,
				"volume %s is attached to %s as %s, and not as %s", v.id, instance, at.device, device)
		case at.instance == instance && at.state == types.VolumeAttachmentStateAttached:
			return volumeIsAttached, nil
		case at.instance == instance || going:
			return volumeWaits, nil
		case !v.shared:
			return volumeWaits, dormouse.Errorf(dormouse.Configuration,
				"volume %s is in use by instance %s: detach it there, or give this worker another", v.id, at.instance)
		}
	}
	switch v.state {
	case types.VolumeStateAvailable:
		return volumeIsToBeAttached, nil
	case types.VolumeStateInUse:
		if v.shared {
			return volumeIsToBeAttached, nil
		}
		return volumeWaits, nil // its attachments have not shown yet, or not gone
	case types.VolumeStateCreating:
		return volumeWaits, nil
	default:
		return volumeWaits, dormouse.Errorf(dormouse.Configuration,
			"volume %s cannot be attached: its state is %q; give the worker another", v.id, v.state)
	}
}

// freeVolume says why a volume cannot be attached to a new instance now, ""
// where it can. The error is one that waiting does not help.
func freeVolume(v volume, device string) (string, error) {
	for _, at := range v.attachments {
		if !v.shared && at.state != types.VolumeAttachmentStateDetached {
			return fmt.Sprintf("volume %s is held by instance %s (%s)", v.id, at.instance, at.state), nil
		}
	}
	switch step, err := nextForVolume(v, device, ""); {
	case err != nil:
		return "", err
	case step != volumeIsToBeAttached:
		return fmt.Sprintf("volume %s is %s", v.id, v.state), nil
	default:
		return "", nil
	}
}

// volumeWatch is one look at volumes for all who ask at about the same time.
type volumeWatch struct {
	flight singleflight.Group
	mu     sync.Mutex
	wanted map[string]int // who waits for a volume, by its id
	last   volumeLook
}

// volumeLook is what EC2 answered of the volumes asked for.
type volumeLook struct {
	asked map[string]bool
	found map[string]volume
	at    time.Time // when it was asked
}

// want has ids looked at with whatever else is, until the function that it
// returns is called.
func (w *volumeWatch) want(ids []string) (done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wanted == nil {
		w.wanted = map[string]int{}
	}
	for _, id := range ids {
		w.wanted[id]++
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, id := range ids {
			if w.wanted[id]--; w.wanted[id] == 0 {
				delete(w.wanted, id)
			}
		}
	}
}

// volumes returns the volumes of spec, as EC2 saw them at notBefore or later.
func (a *Account) volumes(ctx context.Context, spec LaunchSpec, notBefore time.Time) (volumeLook, error) {
	ids := spec.volumeIDs()
	w := &a.volumeWatch
	defer w.want(ids)()
	for {
		w.mu.Lock()
		look := w.last
		w.mu.Unlock()
		if !look.at.IsZero() && !look.at.Before(notBefore) && !slices.ContainsFunc(ids, func(id string) bool { return !look.asked[id] }) {
			return look, a.allFound(look, ids)
		}
		_, err := share(ctx, &w.flight, "", func(ctx context.Context) (struct{}, error) {
			w.mu.Lock()
			all := slices.Sorted(maps.Keys(w.wanted))
			w.mu.Unlock()
			look, err := a.lookAtVolumes(ctx, all)
			if err == nil {
				w.mu.Lock()
				w.last = look
				w.mu.Unlock()
			}
			return struct{}{}, err
		})
		if err != nil {
			return volumeLook{}, err
		}
	}
}

func (a *Account) lookAtVolumes(ctx context.Context, ids []string) (volumeLook, error) {
	look := volumeLook{asked: map[string]bool{}, found: map[string]volume{}, at: time.Now()}
	for chunk := range slices.Chunk(ids, maxFilterValues) {
		// By a filter: a list of ids is refused as a whole for one unknown.
		in := &ec2.DescribeVolumesInput{Filters: []types.Filter{{Name: new("volume-id"), Values: chunk}}}
		for {
			out, err := call(ctx, a, action{name: "DescribeVolumes"}, a.api.describeVolumes, in)
			if err != nil {
				return look, err
			}
			for _, v := range out.Volumes {
				look.found[deref(v.VolumeId)] = readVolume(v)
			}
			if in.NextToken = out.NextToken; deref(in.NextToken) == "" {
				break
			}
		}
		for _, id := range chunk {
			look.asked[id] = true
		}
	}
	return look, nil
}

func readVolume(v types.Volume) volume {
	out := volume{
		id: deref(v.VolumeId), zone: deref(v.AvailabilityZone), state: v.State, shared: deref(v.MultiAttachEnabled),
	}
	for _, at := range v.Attachments {
		out.attachments = append(out.attachments, attachment{
			instance: deref(at.InstanceId), device: deref(at.Device), state: at.State,
		})
	}
	return out
}

func (a *Account) allFound(look volumeLook, ids []string) error {
	for _, id := range ids {
		if _, ok := look.found[id]; !ok {
			return &dormouse.Error{
				Code: dormouse.Configuration, Remote: "InvalidVolume.NotFound",
				Message: fmt.Sprintf("volume %s does not exist in %s for this account: check volumes and region", id, a.region),
			}
		}
	}
	return nil
}

func (s LaunchSpec) volumeIDs() []string {
	ids := make([]string, len(s.Volumes))
	for i, v := range s.Volumes {
		ids[i] = v.ID
	}
	return ids
}
