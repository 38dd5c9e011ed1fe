package command

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// commandVersion is what Buildbot 3.7's worker says of each command; masters
// look at it to know what a worker can do.
const commandVersion = "3.1"

// command is one that the master asked for, its arguments understood.
type command interface {
	// run carries it out. The failure it returns is for what went wrong
	// beside the command, which the master counts as an exception; what the
	// command itself did is in its updates.
	run(r *running) (failure string)
}

// commands are the commands by their names in the protocol. They read their
// arguments and do nothing yet.
var commands = map[string]func(args map[string]any) (command, error){
	"shell":            func(args map[string]any) (command, error) { return parseShell(args) },
	"mkdir":            parsePaths("mkdir", makeDirectories),
	"rmdir":            parsePaths("rmdir", removeDirectories),
	"cpdir":            parseCopy,
	"stat":             parsePath("stat", statFile),
	"glob":             parsePath("glob", globFiles),
	"listdir":          parsePath("listdir", listDirectory),
	"rmfile":           parsePath("rmfile", removeFile),
	"upload_file":      parseUpload,
	"upload_directory": parseDirectoryUpload,
	"download_file":    parseDownload,
}

// olderNames are what stock masters look for in a worker's description to know
// whether it moves files: the names of the protocol before this one.
var olderNames = map[string]string{
	"uploadFile":      "upload_file",
	"uploadDirectory": "upload_directory",
	"downloadFile":    "download_file",
}

// Versions are what a worker says of its commands: the version of each, by all the
// names that masters look for.
func Versions() map[string]any {
	versions := make(map[string]any, len(commands)+len(olderNames))
	for name := range commands {
		versions[name] = commandVersion
	}
	for name := range olderNames {
		versions[name] = commandVersion
	}
	return versions
}

// parseCommand understands a command, or says what is wrong with it.
func parseCommand(name string, args map[string]any) (command, error) {
	if newer, ok := olderNames[name]; ok {
		name = newer
	}
	parse, ok := commands[name]
	if !ok {
		return nil, dormouse.Errorf(dormouse.NotFound, "this worker has no command %q: it has %q",
			name, slices.Sorted(maps.Keys(commands)))
	}
	return parse(args)
}

// running is a command while it runs, and what it needs of its worker.
type running struct {
	// ctx ends when nobody wants the command any more: with its connection, or,
	// for one of a group, when the master says so or the agent ends.
	ctx        context.Context
	cancel     context.CancelFunc
	id, name   string
	group      string        // "" ends with the connection
	done       chan struct{} // of a command of a group: it is over
	interrupts chan string   // holds one, the first
	out        *outbox
	files      Mover // of the connection it was started on
	remains    *remains
	base       string // the worker's directory: what is received goes below it
	settings   wire.Settings
	nl         newline
	environ    []string
	log        *slog.Logger
}

// interrupt asks the command to end; only the first request counts.
func (r *running) interrupt(why string) {
	select {
	case r.interrupts <- why:
	default:
	}
}

// header adds lines to the command's log that are not its output.
func (r *running) header(lines ...string) {
	for _, text := range lines {
		r.line(dormouse.Header, text)
	}
}

func (r *running) line(stream dormouse.Stream, text string) {
	// Through a splitter, which makes it valid and no longer than a line is.
	split := newLineSplitter(stream, r.nl, r.settings.MaxLineLength)
	now := time.Now()
	lines := split.Append(nil, []byte(text+"\n"), now)
	r.out.Lines(split.Flush(lines, now))
}

// end reports how a process ended. The master itself writes the line about
// the exit code.
func (r *running) end(status exitStatus, elapsed time.Duration) {
	if status.signal != 0 {
		r.header(fmt.Sprintf("process killed by signal %d (%s)", status.signal, status.signal))
	}
	r.out.Pair("rc", status.code)
	r.header(fmt.Sprintf("elapsedTime=%.6f", elapsed.Seconds()))
}

// do runs the command and sends all it has to say.
func (r *running) do(c command) (failure string) {
	begin := time.Now()
	failure = c.run(r)
	r.out.Pair("elapsed", time.Since(begin).Seconds())
	if err := r.out.Drain(); err != nil {
		failure = err.Error()
	}
	return failure
}

// run runs the command to its end, and tells the master.
func (r *running) run(c command) {
	defer r.out.Close()
	failure := r.do(c)
	if r.ctx.Err() != nil {
		r.log.Info("command ended: nobody wants it any more")
		return
	}
	r.log.Info("command ended", "failure", failure)
	r.out.Complete(failure)
}
