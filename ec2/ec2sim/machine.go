package ec2sim

import (
	"context"
	"io"
	"net/http"
)

// Machine is what an instance is booted from.
type Machine struct {
	ID           string // the instance's, for instance "i-0123456789abcdef0"
	ImageID      string
	InstanceType string
	Region       string
	Zone         string
	// PrivateIP and MAC are the addresses of its network interface, by what EC2
	// and its own metadata say.
	PrivateIP, MAC string
	// Command is the image's boot command; empty means that the machine does
	// what cloud-init does: it runs its user data when that is a script.
	Command  []string
	UserData []byte
	// Console receives what the machine prints. It keeps the last 64 KiB and
	// never fails or blocks.
	Console io.Writer
	// Metadata answers the requests that the machine makes to its metadata
	// service. EC2 has it at http://169.254.169.254, and where MetadataIPv6 is
	// set at http://[fd00:ec2::254], too.
	Metadata     http.Handler
	MetadataIPv6 bool
	// PowerOff tells the endpoint that the machine powers itself off. It
	// returns at once and may be called any number of times.
	PowerOff func()
}

// Process is a booted machine. It is up until it is stopped, also when its boot
// command has ended, which it writes to its console.
type Process interface {
	// Stop ends everything that the machine runs, politely first. It returns
	// once nothing is left, or with an error that says what could not be ended.
	// The endpoint calls it once.
	Stop(ctx context.Context) error
	// Discard removes what the machine left on its disk. The endpoint calls it
	// once, after Stop, when the instance is terminated and not only stopped.
	Discard() error
}

// Boot starts a machine. The context is the endpoint's: it ends when the
// endpoint closes, and is not a limit on the machine's life.
type Boot func(ctx context.Context, m Machine) (Process, error)
