package dormouse

import (
	"regexp"
	"strings"
	"time"
)

// StepAction is what a step does: one of the types below. Where a field may be
// Renderable, its value may be known only when the build runs: see package expr.
type StepAction interface{ stepAction() }

// ShellCommand runs a command on the worker.
type ShellCommand struct {
	// Command is a string, which the worker's shell runs, or a list, which is
	// run as it is. It and its elements may be Renderable; nested lists are
	// flattened.
	Command any
	// WorkDir is relative to the builder's directory; "build" by default.
	WorkDir any
	// Env adds to the worker's environment; values are strings, lists (joined
	// with the path separator), nil (the variable is removed) or Renderable.
	Env map[string]any
	// Timeout ends a command that prints nothing for so long; 0 is never.
	// Buildbot's default is 20 minutes.
	Timeout time.Duration
	// MaxTime ends a command that runs longer; 0 is never.
	MaxTime time.Duration
	// SigtermTime is how long a command has between SIGTERM and SIGKILL when
	// it is ended; 0 sends SIGKILL at once.
	SigtermTime time.Duration
	// MaxLines ends a command that prints more; 0 is no limit.
	MaxLines int
	// DecodeRC maps exit codes to results; any other is a failure. The default
	// is {0: Success}.
	DecodeRC               map[int]Result
	LogEnviron             bool // write the environment to the log's header
	WantStdout, WantStderr bool
	InitialStdin           any // string or Renderable; nil for none
	UsePTY                 bool
	// InterruptSignal begins to end the command where there is no SigtermTime:
	// "KILL", "TERM", "INT", "HUP" or "QUIT". "" is KILL.
	InterruptSignal string
	// LogFiles are files that become logs of the step while the command writes
	// them, by the log's name.
	LogFiles map[string]LogFile
	// LazyLogFiles makes a log of a file only once there is something in it.
	LazyLogFiles bool
	Warnings     *WarningRule
}

// LogFile is a file that a command writes.
type LogFile struct {
	Path any // string or Renderable; relative to the command's directory
	// Follow leaves out what was in the file before the command began.
	Follow bool
}

// WarningRule counts the lines of a command's output that are warnings, which
// makes of its success WARNINGS, and of its count the property warnings-count.
type WarningRule struct {
	Pattern string // RE2; from the start of the line
	// MaxCount makes the step FAILURE when there are more; negative is no limit.
	MaxCount int
}

// ShellSequence runs commands one after the other. Each has the result that its
// own rules give it; the worst is the step's.
type ShellSequence struct {
	// Common has all that the commands share, but for Command.
	Common   ShellCommand
	Commands []ShellArg
}

// ShellArg is one command of a [ShellSequence].
type ShellArg struct {
	Command any // as ShellCommand's; one that is rendered to nothing is left out
	LogName any // string or Renderable: the log of its output; nil is stdio

	HaltOnFailure, FlunkOnFailure, WarnOnFailure, FlunkOnWarnings, WarnOnWarnings bool
}

// SetProperty gives properties of the build a value; Buildbot's SetProperty and
// SetProperties.
type SetProperty struct {
	// Values by the properties' names; or, in All, a Renderable of such a map.
	Values map[string]any
	All    any
}

// SetPropertyFromCommand gives properties the output of a command.
type SetPropertyFromCommand struct {
	ShellCommand
	// Property gets the whole output, without the blanks around it where Strip
	// says so. "" where there is Extract.
	Property string
	Strip    bool
	// Extract makes properties of what the command printed.
	Extract Extractor `json:"-"`
	// IncludeStdout and IncludeStderr say what Property gets.
	IncludeStdout, IncludeStderr bool
}

// Extractor makes properties of what a command printed. It is an Identified of package expr, too, for
// a build to go on with.
type Extractor interface {
	Extract(code int, stdout, stderr string) (map[string]any, error)
}

// Upload copies files from the worker to the build's artifacts; Buildbot's
// FileUpload, MultipleFileUpload and DirectoryUpload.
type Upload struct {
	Kind UploadKind
	// Sources are paths on the worker, relative to WorkDir: strings, Renderables or
	// lists of them.
	Sources []any
	// Dest is the path below the build's artifacts; of one file, or of the
	// directory where there are several.
	Dest    any
	WorkDir any
	// MaxSize is how many bytes a file, or all of a directory, may have; 0 is no
	// limit.
	MaxSize   int64
	BlockSize int // bytes; 0 is 256 KiB
	KeepStamp bool
	// Mode is the permissions of the files on the master; 0 is 0644.
	Mode uint32
	// Glob takes sources as patterns.
	Glob bool
	// Compress is "", "gz" or "bz2": how a directory travels.
	Compress string
}

// UploadKind is which of Buildbot's steps an [Upload] is.
type UploadKind int

// The kinds.
const (
	UploadFile UploadKind = iota
	UploadFiles
	UploadDirectory
)

// Download writes a file on the worker; Buildbot's FileDownload and
// StringDownload.
type Download struct {
	// Source is a path on the master, relative to its base directory; nil where
	// there is Text.
	Source any
	// Text is what is written: a string or a Renderable.
	Text any
	// JSON is written as JSON: Buildbot's JSONStringDownload.
	JSON    any
	HasText bool // Text or JSON is what is written
	Dest    any  // relative to WorkDir
	WorkDir any
	MaxSize int64 // bytes; 0 is no limit
	Mode    uint32
	HasMode bool
	// BlockSize in bytes; 0 is 256 KiB.
	BlockSize int
}

// MasterShellCommand runs a command on the master's own machine.
type MasterShellCommand struct {
	Command any // as in ShellCommand
	Env     map[string]any
	WorkDir any // relative to the master's base directory, which is the default
	// InterruptSignal ends it when the build is stopped: see ShellCommand.
	InterruptSignal string
	LogEnviron      bool
}

// FileCommand does something to files on the worker; Buildbot's MakeDirectory,
// RemoveDirectory, CopyDirectory, FileExists.
type FileCommand struct {
	Do FileOperation
	// Paths are relative to the builder's directory. A copy has a source and a
	// destination.
	Paths   []any
	Timeout time.Duration // of removing and copying; 0 is never
	MaxTime time.Duration
}

// FileOperation is what a [FileCommand] does, by its name in the worker
// protocol.
type FileOperation string

// The operations.
const (
	MakeDirectory   FileOperation = "mkdir"
	RemoveDirectory FileOperation = "rmdir"
	CopyDirectory   FileOperation = "cpdir"
	FileExists      FileOperation = "stat"
)

// Trigger asks for builds by [Triggerable] schedulers.
type Trigger struct {
	// Schedulers are names, or Renderables of names.
	Schedulers []any
	// Unimportant are those whose results do not count for the step's.
	Unimportant []any
	// WaitForFinish has the step wait until all builds have ended.
	WaitForFinish bool
	// UpdateSourceStamp gives the builds the revisions that this build has found,
	// instead of those it was asked for.
	UpdateSourceStamp bool
	// AlwaysUseLatest gives them no source but the repository's name.
	AlwaysUseLatest bool
	// SourceStamps, if not empty, are what the builds are of: each a map of
	// SourceStamp's fields by Buildbot's names.
	SourceStamps []any
	// SetProperties are given to the builds, and CopyProperties copied from this
	// one.
	SetProperties  map[string]any
	CopyProperties []string
}

// Git checks a repository out. The revision it found becomes the property
// got_revision.
type Git struct {
	RepoURL any // string or Renderable
	Branch  any // string or Renderable; the source stamp's branch goes first, then this, then the remote's default
	// Mode is "incremental" (keep what is there, the default) or "full"; a string or
	// a Renderable.
	Mode any
	// Method says how a full checkout gets clean: "clobber", "fresh" (the default),
	// "clean" or "copy"; a string or a Renderable. It means nothing in incremental
	// mode.
	Method   any
	Codebase string
	WorkDir  any
	// AlwaysUseLatest takes the tip of Branch, whatever the build is of.
	AlwaysUseLatest bool
	// Shallow is the depth of the history to fetch; 0 is all of it.
	Shallow int
	// Filters make it a partial clone: what git clone takes as --filter.
	Filters []string
	// Reference is a repository on the worker whose objects need not be fetched; a
	// string or a Renderable.
	Reference any
	Origin    any // the remote's name, a string or a Renderable; "origin" by default
	// Tags says whether the server's tags are fetched. By default they are, unless the
	// checkout is shallow, where each would bring all its files. A tag that is built is
	// always there, and where a Description is asked for, those that it needs.
	Tags             *bool
	Submodules       bool
	RemoteSubmodules bool // take the tip of the submodules' branches
	// Description makes the property commit-description; nil does not.
	Description *GitDescription
	// Config is git's configuration for this step alone, by name; values are strings
	// or Renderable.
	Config map[string]any

	// RetryFetch tries a fetch that failed a second time. ClobberOnFailure then
	// removes what is there, and clones.
	RetryFetch, ClobberOnFailure bool
	// Retries is how often a checkout that failed is tried again, RetryDelay apart.
	Retries    int
	RetryDelay time.Duration

	// SSHPrivateKey is a key to log in with over SSH; nil leaves that to the worker's
	// user. Of the servers' keys there is either SSHHostKey, which any server may have,
	// or SSHKnownHosts, with the names of the servers; else the worker's user has to
	// know them. Strings or Renderables.
	SSHPrivateKey, SSHHostKey, SSHKnownHosts any
	// Credentials are for the server of RepoURL, over HTTP; nil leaves that to the
	// worker's user.
	Credentials *GitCredentials

	Progress   bool // git says how far it has come, which keeps Timeout off
	LogEnviron bool // write the environment to the log, once
	Timeout    time.Duration
	Env        map[string]any
}

// GitCredentials are what a server wants to know over HTTP: a user, and the
// password or token. Strings or Renderables.
type GitCredentials struct{ User, Password any }

// GitDescription are options of git describe.
type GitDescription struct {
	All, Always, Contains, Debug, ExactMatch, FirstParent, Long, Tags bool
	Match, Exclude                                                    []string // patterns
	Abbrev, Candidates                                                *int
	// Dirty is what is appended where the tree is changed; "" is git's own word, nil
	// is nothing.
	Dirty *string
}

// configName is what git takes for a name in its configuration. It could have an
// equals sign in the middle, but "-c name=value" would end it there.
var configName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*(\.[^=[:cntrl:]]+)?\.[A-Za-z][A-Za-z0-9-]*$`)

// GitAllowsCommands is the name in git's configuration that allows URLs which are
// commands to run. Git does not without, and a step cannot set it.
const GitAllowsCommands = "protocol.ext.allow"

// CheckGitConfig says why a name cannot be in a [Git]'s Config; nil if it can.
func CheckGitConfig(name string) error {
	switch {
	case !configName.MatchString(name):
		return Errorf(Invalid, "%q does not name anything in git's configuration", name)
	case strings.EqualFold(name, GitAllowsCommands):
		return Errorf(Invalid, "%s cannot be set: with it, a repository's URL can be a command to run", name)
	}
	return nil
}

func (ShellCommand) stepAction()           {}
func (ShellSequence) stepAction()          {}
func (SetProperty) stepAction()            {}
func (SetPropertyFromCommand) stepAction() {}
func (Upload) stepAction()                 {}
func (Download) stepAction()               {}
func (MasterShellCommand) stepAction()     {}
func (FileCommand) stepAction()            {}
func (Trigger) stepAction()                {}
func (Git) stepAction()                    {}
