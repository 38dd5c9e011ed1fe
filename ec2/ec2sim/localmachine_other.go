//go:build !unix

package ec2sim

import (
	"context"

	"github.com/dormouse-ci/dormouse"
)

// localMachines are not to be had here: they need process groups and named
// pipes.
type localMachines struct{}

func newLocalMachines(Options) (*localMachines, error) {
	return nil, dormouse.Errorf(dormouse.Configuration, "the local EC2 endpoint starts machines on Unix only")
}

func (*localMachines) boot(context.Context, Machine) (Process, error) {
	return nil, dormouse.Errorf(dormouse.Configuration, "the local EC2 endpoint starts machines on Unix only")
}

func (*localMachines) close() error { return nil }
