package ec2sim

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// newID makes the identifier of a resource, in today's long form.
func newID(prefix string) string {
	var b [9]byte
	// Read of crypto/rand never fails.
	_, _ = rand.Read(b[:])
	return prefix + "-" + hex.EncodeToString(b[:])[:17]
}

// newRequestID makes the identifier of a call.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a random UUID, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

var hexID = regexp.MustCompile(`^([0-9a-f]{8}|[0-9a-f]{17})$`)

// kind is a sort of resource: how its ids begin, and the codes that EC2 answers
// with when one is malformed or unknown.
type kind struct {
	prefix    string
	malformed string
	notFound  string
	noun      string
}

var (
	instanceKind    = kind{"i", "InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound", "instance ID"}
	imageKind       = kind{"ami", "InvalidAMIID.Malformed", "InvalidAMIID.NotFound", "image id"}
	groupKind       = kind{"sg", "InvalidGroupId.Malformed", "InvalidGroup.NotFound", "security group"}
	subnetKind      = kind{"subnet", "InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound", "subnet ID"}
	vpcKind         = kind{"vpc", "InvalidVpcID.Malformed", "InvalidVpcID.NotFound", "vpc ID"}
	volumeKind      = kind{"vol", "InvalidVolumeID.Malformed", "InvalidVolume.NotFound", "volume"}
	keyKind         = kind{"key", "InvalidKeyPair.Malformed", "InvalidKeyPair.NotFound", "key pair"}
	addressKind     = kind{"eipalloc", "InvalidAllocationID.Malformed", "InvalidAllocationID.NotFound", "allocation ID"}
	associationKind = kind{"eipassoc", "InvalidAssociationID.Malformed", "InvalidAssociationID.NotFound", "association ID"}
	spotKind        = kind{"sir", "InvalidSpotInstanceRequestID.Malformed", "InvalidSpotInstanceRequestID.NotFound", "spot instance request ID"}
	templateKind    = kind{"lt", "InvalidLaunchTemplateId.Malformed", "InvalidLaunchTemplateId.NotFound", "launch template ID"}
	interfaceKind   = kind{"eni", "InvalidNetworkInterfaceId.Malformed", "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"}
	snapshotKind    = kind{"snap", "InvalidSnapshotID.Malformed", "InvalidSnapshot.NotFound", "snapshot"}
)

// check refuses ids that cannot be of this kind, the first of them by name.
func (k kind) check(ids ...string) error {
	for _, id := range ids {
		rest, ok := strings.CutPrefix(id, k.prefix+"-")
		if !ok || !hexID.MatchString(rest) {
			return refuse(k.malformed, "Invalid id: %q (expecting %q)", id, k.prefix+"-...")
		}
	}
	return nil
}

// unknown is the answer to ids that are of this kind but of nothing that
// exists. It names them all, as EC2 does.
func (k kind) unknown(ids ...string) error {
	switch {
	case k.prefix == imageKind.prefix:
		return refuse(k.notFound, "The image id '[%s]' does not exist", strings.Join(ids, ", "))
	case len(ids) == 1:
		return refuse(k.notFound, "The %s '%s' does not exist", k.noun, ids[0])
	default:
		return refuse(k.notFound, "The %ss '%s' do not exist", k.noun, strings.Join(ids, ", "))
	}
}

// lookUp returns the resources with these ids, in their order and each once, or
// refuses when any is malformed or unknown: one bad id spoils the call.
func lookUp[T any](k kind, ids []string, find func(id string) (T, bool)) ([]T, error) {
	if err := k.check(ids...); err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(ids))
	var found []T
	var absent []string
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		if v, ok := find(id); ok {
			found = append(found, v)
		} else {
			absent = append(absent, id)
		}
	}
	if len(absent) > 0 {
		return nil, k.unknown(absent...)
	}
	return found, nil
}
