package command

import (
	"context"
	"time"

	"github.com/dormouse-ci/dormouse/wire"
)

// Conn is a connection to the master as commands use it.
type Conn interface {
	Link
	Mover
}

// Link carries what a command says.
type Link interface {
	// Send returns once the updates have their place on the wire; wait returns
	// when the master has acknowledged them.
	Send(ctx context.Context, commandID string, first int64, updates wire.Updates) (wait func(context.Context) error, err error)
	Complete(ctx context.Context, commandID, failure string) error
}

// Mover carries the files that a command moves. Each call waits for the master's
// answer: that is what holds a fast disk back.
type Mover interface {
	UploadWrite(ctx context.Context, commandID string, p []byte) error
	UploadClose(ctx context.Context, commandID string) error
	UploadTimes(ctx context.Context, commandID string, accessed, modified time.Time) error
	DirectoryWrite(ctx context.Context, commandID string, p []byte) error
	DirectoryUnpack(ctx context.Context, commandID string) error
	ReadFile(ctx context.Context, commandID string, n int) ([]byte, error)
	ReadFileClose(ctx context.Context, commandID string) error
}
