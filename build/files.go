package build

import (
	"context"
	"io"
	"io/fs"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// Files are the master's own, for steps that move files.
type Files interface {
	// BaseDir is what paths on the master are relative to.
	BaseDir() string
	// Read opens a file below it.
	Read(name string) (File, error)
	// Begin makes a place for files of a build.
	Begin(b dormouse.Build) (Upload, error)
	// Keep makes it durable that a build has kept files.
	Keep(ctx context.Context, buildID int64, artifacts []dormouse.Artifact) error
}

// File is a file to be read.
type File interface {
	io.ReadCloser
	Stat() (fs.FileInfo, error)
}

// Upload takes files of a build. Nothing of them can be seen before Publish.
type Upload interface {
	// Hold has what finds no room repeated by hold, whose calls take as long as that
	// takes. It comes first.
	Hold(hold func(try func() error) error)
	// File begins a file that goes to dest below the build's artifacts. limit is
	// how many bytes it may have; 0 is no limit.
	File(dest string, limit int64, mode fs.FileMode) (wire.FileWriter, error)
	// Directory begins a directory, which comes as an archive: "", "gz" or "bz2".
	Directory(dest, compress string, limit int64) (wire.DirectoryWriter, error)
	// Publish puts all of them into their places, durably. leftOut is what it has
	// no place for, with why.
	Publish(stepID int64) (artifacts []dormouse.Artifact, leftOut []string, err error)
	// Name gives what was published the name that masterdest is below BaseDir.
	Name() error
	// Withdraw removes what was published, since it could not be noted.
	Withdraw()
	// Discard gives up what is not published. It may be called again.
	Discard()
}

// Triggers makes other builds for a build.
type Triggers interface {
	// Submit makes the requests of a Triggerable scheduler, once: the same key
	// finds those that were made before.
	Submit(ctx context.Context, o TriggerOrder) ([]dormouse.BuildRequest, error)
	// Await returns the requests when all of them are complete; where one was
	// merged into another, with that one's result. The build of the request parent
	// waits for them.
	Await(ctx context.Context, parent int64, ids []int64) ([]dormouse.BuildRequest, error)
	// Cancel cancels those that are not complete. It is called when nothing more
	// can be done about a failure, which it logs.
	Cancel(ids []int64, why string)
}

// TriggerOrder says what to make.
type TriggerOrder struct {
	Key        string
	Scheduler  string
	Parent     dormouse.Build
	Request    dormouse.BuildRequest // the parent's
	Sources    []dormouse.SourceStamp
	Properties dormouse.Properties
}
