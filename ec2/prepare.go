package ec2

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
)

const (
	// prepareTimeout is how long an instance is prepared at most. A volume that
	// is still "attaching" then is stuck: AWS's advice is to give up on the
	// instance.
	prepareTimeout = 5 * time.Minute
	// instanceSettles is how long EC2 may say that an instance which it has
	// shown as running is unknown or not running: its answers come from places
	// that learn of it one after the other.
	instanceSettles = 30 * time.Second
	// addressRetry is the wait before an association that EC2 would not take
	// yet is asked for again.
	addressRetry = 2 * time.Second
	// releaseTimeout is how long the end of an instance waits for its address
	// to be taken off: each second of it is paid for, and the end frees the
	// address too.
	releaseTimeout = 20 * time.Second
)

var errNotPrepared = errors.New("not done within " + prepareTimeout.String())

// Prepare gives a running instance what the spec has for it: it attaches the
// volumes, waits until they are, and then associates the address, which changes
// where the instance is reached from outside and can cut its connections. What
// is there already is left as it is, so that it may be called again after any
// error. What another instance has is never taken: that is a
// [dormouse.Configuration] error which names it.
func (a *Account) Prepare(ctx context.Context, spec LaunchSpec, instanceID string) error {
	if !spec.NeedsPreparation() {
		return nil
	}
	limited, cancel := context.WithTimeoutCause(ctx, prepareTimeout, errNotPrepared)
	defer cancel()
	start := time.Now()
	err := a.attachVolumes(limited, spec, instanceID, start)
	if err == nil && spec.ElasticIP != "" {
		err = a.associate(limited, spec.ElasticIP, instanceID, start)
	}
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(limited), errNotPrepared) {
		return dormouse.Errorf(dormouse.Unavailable, "instance %s could not be given its volumes and address: %w (%w)", instanceID, errNotPrepared, err)
	}
	return err
}

func (a *Account) attachVolumes(ctx context.Context, spec LaunchSpec, instanceID string, start time.Time) error {
	if len(spec.Volumes) == 0 {
		return nil
	}
	defer a.volumeWatch.want(spec.volumeIDs())() // also while others look
	notBefore := start.Add(-volumesFresh)
	for {
		look, err := a.volumes(ctx, spec, notBefore)
		if err != nil {
			return err
		}
		waiting, next := "", look.at
		for _, v := range spec.Volumes {
			step, err := nextForVolume(look.found[v.ID], v.Device, instanceID)
			if err != nil {
				return err
			}
			if step == volumeIsAttached {
				continue
			}
			waiting = v.ID
			if step == volumeIsToBeAttached {
				if err := a.attach(ctx, v, instanceID, start); err != nil {
					return err
				}
				next = time.Now() // an older look knows nothing of it
			}
		}
		if waiting == "" {
			return nil
		}
		notBefore = next.Add(1) // what was seen before tells nothing new
		if err := pause(ctx, time.Until(next.Add(volumesFresh)), "volume "+waiting+" to be attached to "+instanceID); err != nil {
			return err
		}
	}
}

// attach sends one AttachVolume. What the next look at the volume settles is no
// error: that somebody has it, which may be us, or that no answer came.
func (a *Account) attach(ctx context.Context, v Volume, instanceID string, start time.Time) error {
	_, err := call(ctx, a, action{name: "AttachVolume", mutating: true}, a.api.attachVolume,
		&ec2.AttachVolumeInput{VolumeId: &v.ID, InstanceId: &instanceID, Device: &v.Device})
	switch {
	case remoteOf(err) == "VolumeInUse":
		return nil
	case passes(err, start), dormouse.CodeOf(err) == dormouse.Unanswered && ctx.Err() == nil:
		return nil
	default:
		return err
	}
}

func (a *Account) associate(ctx context.Context, ip, instanceID string, start time.Time) error {
	for {
		ad, err := a.address(ctx, ip)
		if err != nil {
			return err
		}
		associate, err := nextForAddress(ad, instanceID)
		if err != nil || !associate {
			return err
		}
		_, err = call(ctx, a, action{name: "AssociateAddress", mutating: true}, a.api.associateAddress,
			&ec2.AssociateAddressInput{
				AllocationId: &ad.allocation, InstanceId: &instanceID,
				AllowReassociation: new(false), // the API's own default is to steal it
			})
		switch {
		case err == nil:
			return nil
		case remoteOf(err) == "Resource.AlreadyAssociated", passes(err, start),
			dormouse.CodeOf(err) == dormouse.Unanswered && ctx.Err() == nil:
			// Who has it is read in the next round.
			if err := pause(ctx, addressRetry, "address "+ip+" to be associated with "+instanceID); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// passes reports whether EC2 only has not heard yet, in the place that answered,
// that the instance is running.
func passes(err error, start time.Time) bool {
	switch remoteOf(err) {
	case "InvalidInstanceID", "InvalidInstanceID.NotFound", "IncorrectInstanceState", "IncorrectState":
		return time.Since(start) < instanceSettles
	default:
		return false
	}
}

func pause(ctx context.Context, d time.Duration, what string) error {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return dormouse.Errorf(dormouse.Unavailable, "given up waiting for %s: %w", what, ctx.Err())
	}
}

// Release takes the spec's address from an instance that is about to be ended,
// or gives up within seconds.
// The instance is to be ended whatever it returns: EC2 frees the address and
// the volumes of an ended instance by itself, only later. An address that the
// instance does not have is left alone.
func (a *Account) Release(ctx context.Context, spec LaunchSpec, instanceID string) error {
	if spec.ElasticIP == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	ad, err := a.address(ctx, spec.ElasticIP)
	if err != nil || ad.instance != instanceID || ad.association == "" {
		return err
	}
	_, err = call(ctx, a, action{name: "DisassociateAddress", mutating: true}, a.api.disassociateAddress,
		&ec2.DisassociateAddressInput{AssociationId: &ad.association})
	if remoteOf(err) == "InvalidAssociationID.NotFound" {
		return nil
	}
	return err
}

// Free reports whether the volumes and the address of the spec are free for an
// instance that is to be started, and else what is not and who has it. The error
// is of a question that could not be answered, or of something that does not
// exist or never will be free ([dormouse.Configuration]).
func (a *Account) Free(ctx context.Context, spec LaunchSpec) (free bool, why string, err error) {
	if len(spec.Volumes) > 0 {
		look, err := a.volumes(ctx, spec, time.Now().Add(-volumesFresh))
		if err != nil {
			return false, "", err
		}
		for _, v := range spec.Volumes {
			if why, err := freeVolume(look.found[v.ID], v.Device); why != "" || err != nil {
				return false, why, err
			}
		}
	}
	if spec.ElasticIP != "" {
		ad, err := a.address(ctx, spec.ElasticIP)
		if err != nil {
			return false, "", err
		}
		if holder := ad.holder(); holder != "" {
			return false, fmt.Sprintf("address %s is taken by %s", ad.ip, holder), nil
		}
	}
	return true, "", nil
}
