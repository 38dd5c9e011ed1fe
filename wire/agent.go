package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/dormouse-ci/dormouse"
)

// Settings are a master's wishes of how output is cut and collected.
type Settings struct {
	NewlineRE     string // Python's syntax; what it matches becomes a newline
	MaxLineLength int    // characters
	BufferSize    int    // bytes; more than that is sent at once
	BufferTimeout time.Duration
}

// AgentHandler is what the agent does for its master. Calls come in order, one
// at a time, from one goroutine; each request is answered when its call has
// returned, so a call that lasts holds later ones back. An error is told to
// the master in its words.
type AgentHandler interface {
	// WorkerInfo describes the worker: basedir, version, system, numcpus,
	// environ, worker_commands, …
	WorkerInfo() map[string]any
	Settings(Settings)
	// StartCommand returns once the command is started.
	StartCommand(c StartCommand) error
	// KeepCommands returns once commands that earlier connections started, of
	// other groups than these, have ended.
	KeepCommands(groups []string)
	// EndGroup returns once nothing is left that commands of the group have
	// started, and names what there was. Other than the others it may be called
	// beside them.
	EndGroup(group string) []string
	// ResumeCommand has a command that an earlier connection started go on with
	// this one, from what it said at position on. It returns false if there is
	// none. What it says may arrive before the answer.
	ResumeCommand(id string, position int64) bool
	// InterruptCommand of a command that has ended is no error.
	InterruptCommand(id, why string) error
	Print(msg string)
	// Shutdown asks the process to end. The master has its answer already.
	Shutdown()
}

// StartCommand is a master's order.
type StartCommand struct {
	ID   string // unique within the connection, or, with a Group, the session
	Name string
	Args map[string]any
	// Group, if not "", says that the command outlives the connection.
	Group string
}

// requestBacklog bounds the requests of a master that wait for the handler. A
// master has one start and one interruption open per command.
const requestBacklog = 256

// AgentConn is the agent's end of a connection. Its methods may be called from
// any goroutine.
type AgentConn struct {
	*peer
	handler     AgentHandler
	extensions  Extensions
	secretBound bool
	machine     string
	work        chan func()
	wait        sync.WaitGroup
}

func newAgentConn(ws *websocket.Conn, name string, x Extensions, handler AgentHandler, log *slog.Logger) *AgentConn {
	c := &AgentConn{handler: handler, extensions: x, work: make(chan func(), requestBacklog)}
	c.peer = newPeer(ws, name, log)
	c.serve = c.dispatch
	return c
}

func (c *AgentConn) run() {
	c.wait.Go(func() {
		for {
			select {
			case f := <-c.work:
				f()
			case <-c.done:
				return
			}
		}
	})
	c.start(func() {})
	if c.extensions.Has(Ping) {
		// It always reads what comes.
		c.wg.Go(func() { c.watch(func() bool { return false }) })
	}
}

// dispatch queues a master's request for the handler, or refuses one that
// makes no sense. It runs in the reader.
func (c *AgentConn) dispatch(f *frame, buf []byte) {
	defer putBuffer(buf)
	if f.op == opPing && c.extensions.Has(Ping) {
		return
	}
	work, err := c.workFor(f)
	if err != nil {
		c.replyNow(f.seq, err)
		return
	}
	if work == nil {
		c.replyNow(f.seq, nil)
		return
	}
	select {
	case c.work <- work:
	default:
		c.replyNow(f.seq, fmt.Errorf("more than %d requests at once", requestBacklog))
	}
}

// workFor returns what the handler's goroutine has to do for a request,
// answering it included; nil where there is nothing to do but to answer.
func (c *AgentConn) workFor(f *frame) (func(), error) {
	seq := f.seq
	switch f.op {
	case "keepalive":
		return nil, nil
	case "get_worker_info":
		return func() { c.reply(seq, c.handler.WorkerInfo(), nil) }, nil
	case "print":
		msg, err := f.need("message")
		return func() {
			c.handler.Print(msg)
			c.reply(seq, nil, nil)
		}, err
	case "set_worker_settings":
		s, err := settingsFrom(f.value("args"))
		return func() {
			c.handler.Settings(s)
			c.reply(seq, nil, nil)
		}, err
	case "start_command":
		id, err1 := f.need("command_id")
		name, err2 := f.need("command_name")
		args, isMap := f.value("args").(map[string]any)
		err := errors.Join(err1, err2)
		if err == nil && !isMap {
			err = errors.New("start_command without a map of args")
		}
		start := StartCommand{ID: id, Name: name, Args: args}
		if c.extensions.Has(Resume) {
			start.Group = f.text("resume")
		}
		return func() { c.reply(seq, nil, c.handler.StartCommand(start)) }, err
	case "interrupt_command":
		id, err := f.need("command_id")
		why := f.text("why")
		return func() { c.reply(seq, nil, c.handler.InterruptCommand(id, why)) }, err
	case "shutdown":
		return func() {
			c.reply(seq, nil, nil)
			c.handler.Shutdown()
		}, nil
	case "":
		return nil, errors.New("the frame has no op")
	}
	if f.op == "end_group" && c.extensions.Has(Groups) {
		group, err := f.need("group")
		return func() { c.endGroup(seq, group) }, err
	}
	if !c.extensions.Has(Resume) {
		return nil, fmt.Errorf("unknown op %q", shorten(f.op, maxName))
	}
	switch f.op {
	case "keep_commands":
		var groups []string
		list, isList := f.value("groups").([]any)
		for _, v := range list {
			g, _ := v.(string)
			groups = append(groups, g)
		}
		if !isList {
			return nil, errors.New("keep_commands without a list of groups")
		}
		return func() {
			c.handler.KeepCommands(groups)
			c.reply(seq, nil, nil)
		}, nil
	case "resume_command":
		id, err := f.need("command_id")
		position, isNumber := f.value("position").(int64)
		if err == nil && (!isNumber || position < 0) {
			err = errors.New("resume_command without a position")
		}
		return func() { c.reply(seq, c.handler.ResumeCommand(id, position), nil) }, err
	default:
		return nil, fmt.Errorf("unknown op %q", shorten(f.op, maxName))
	}
}

// endGroup has the handler end a group, while it goes on with other requests:
// processes may take their time.
func (c *AgentConn) endGroup(seq int64, group string) {
	c.wait.Go(func() {
		names := c.handler.EndGroup(group)
		list := make([]any, 0, maxEnded)
		for _, name := range names[:min(len(names), maxEnded)] {
			list = append(list, name)
		}
		c.reply(seq, list, nil)
	})
}

// maxEnded bounds how many processes are named to the master.
const maxEnded = 100

// need returns a text that a request must carry.
func (f *frame) need(key string) (string, error) {
	s, ok := f.value(key).(string)
	if !ok {
		return "", fmt.Errorf("%s without a text %s", f.op, key)
	}
	return s, nil
}

func settingsFrom(v any) (Settings, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return Settings{}, errors.New("set_worker_settings without a map of args")
	}
	var s Settings
	var bad []error
	number := func(key string) float64 {
		switch v := m[key].(type) {
		case int64:
			if v >= 0 {
				return float64(v)
			}
		case float64:
			if v >= 0 {
				return v
			}
		}
		bad = append(bad, fmt.Errorf("set_worker_settings: %s is not a number", key))
		return 0
	}
	// An hour and a gigabyte are beyond any use, and within any type.
	s.BufferTimeout = time.Duration(min(number("buffer_timeout"), 3600) * float64(time.Second))
	s.BufferSize = int(min(number("buffer_size"), 1<<30))
	s.MaxLineLength = int(min(number("max_line_length"), 1<<30))
	if s.NewlineRE, ok = m["newline_re"].(string); !ok {
		bad = append(bad, errors.New("set_worker_settings: newline_re is not a text"))
	}
	return s, errors.Join(bad...)
}

// UpdatePair is one thing a command reports: "stdout" with the value of
// [EncodeOutput], "rc" with a number, …
type UpdatePair struct {
	Key string
	// Value is nil, a bool, number, string, []byte, a list or a map of such, or
	// encoded output.
	Value any
}

// Updates are updates of a command, encoded: what a worker keeps until the
// master has acknowledged them.
type Updates []byte

// EncodeUpdates encodes updates. Its error is Invalid: a value of a type that
// cannot be sent, or more than a frame may have.
func EncodeUpdates(updates []UpdatePair) (Updates, error) {
	b, err := appendValue(nil, updateArgs(updates))
	if err == nil && len(b) > MaxFrame-frameOverhead {
		err = fmt.Errorf("%d bytes are more than a frame may have (%d)", len(b), MaxFrame)
	}
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Invalid, "update: %w", err)
	}
	return b, nil
}

// Each calls on with what the updates say, as a master's function gets it.
func (u Updates) Each(on func(Update) error) error { return decodeUpdates(u, time.Now(), on) }

// frameOverhead is room for what is around the updates in a frame.
const frameOverhead = 1 << 10

// updateArgs encodes as a list of [key, value].
type updateArgs []UpdatePair

// Update sends updates of a command and returns when the master has
// acknowledged them.
func (c *AgentConn) Update(ctx context.Context, commandID string, updates []UpdatePair) error {
	encoded, err := EncodeUpdates(updates)
	if err != nil {
		return err
	}
	wait, err := c.Send(ctx, commandID, NoPosition, encoded)
	if err != nil {
		return err
	}
	return wait(ctx)
}

// NoPosition is the position in what a command without a group says.
const NoPosition = -1

// Send returns once encoded updates have their place on the wire: those that
// one goroutine sends arrive in that order. wait returns when they are
// acknowledged. The caller chooses how many may be unacknowledged at once. first
// is the position of the first of them among all that a command of a group
// says: each line and each value counts one.
func (c *AgentConn) Send(ctx context.Context, commandID string, first int64, updates Updates) (wait func(context.Context) error, err error) {
	fields := []field{{"command_id", commandID}, {"args", updates}}
	if first >= 0 {
		fields = append(fields, field{"first", first})
	}
	p, err := c.send(ctx, "update", fields...)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := p.wait(ctx)
		return err
	}, nil
}

// Complete ends a command: the master takes no more updates of it. failure is
// "" unless the agent itself failed. It returns when the master has
// acknowledged.
func (c *AgentConn) Complete(ctx context.Context, commandID, failure string) error {
	var args any
	if failure != "" {
		args = failure
	}
	_, err := c.call(ctx, "complete", field{"command_id", commandID}, field{"args", args})
	return err
}

// Keepalive returns nil once the master has answered. A stock master does not
// know the request; its refusal is a sign of life too.
func (c *AgentConn) Keepalive(ctx context.Context) error {
	_, err := c.call(ctx, "keepalive")
	var refused *RemoteError
	if errors.As(err, &refused) {
		return nil
	}
	return err
}

// UploadWrite sends the next block of a file. Blocks should be well under
// [MaxFrame].
func (c *AgentConn) UploadWrite(ctx context.Context, commandID string, p []byte) error {
	return c.transfer(ctx, "update_upload_file_write", commandID, field{"args", p})
}

// UploadClose ends a file.
func (c *AgentConn) UploadClose(ctx context.Context, commandID string) error {
	return c.transfer(ctx, "update_upload_file_close", commandID)
}

// UploadTimes gives a file that was closed its times.
func (c *AgentConn) UploadTimes(ctx context.Context, commandID string, accessed, modified time.Time) error {
	return c.transfer(ctx, "update_upload_file_utime", commandID,
		field{"access_time", seconds(accessed)}, field{"modified_time", seconds(modified)})
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// DirectoryWrite sends the next block of a directory's tar archive.
func (c *AgentConn) DirectoryWrite(ctx context.Context, commandID string, p []byte) error {
	return c.transfer(ctx, "update_upload_directory_write", commandID, field{"args", p})
}

// DirectoryUnpack ends the archive and has the master unpack it.
func (c *AgentConn) DirectoryUnpack(ctx context.Context, commandID string) error {
	return c.transfer(ctx, "update_upload_directory_unpack", commandID)
}

// ReadFile returns the next block of a file of the master's, of n bytes at
// most; nothing at the end.
func (c *AgentConn) ReadFile(ctx context.Context, commandID string, n int) ([]byte, error) {
	v, err := c.call(ctx, "update_read_file", field{"command_id", commandID}, field{"length", n})
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case []byte:
		return v, nil
	case string:
		return []byte(v), nil
	}
	// Buildbot 3.7's master answers with nothing whatever it has read, so that its
	// workers cannot download files over this protocol.
	return nil, dormouse.Errorf(dormouse.Internal, "%s answered update_read_file without the bytes of the file, as Buildbot 3.7 does: no file can be downloaded from it", c.name)
}

// ReadFileClose says that no more of the file is wanted.
func (c *AgentConn) ReadFileClose(ctx context.Context, commandID string) error {
	return c.transfer(ctx, "update_read_file_close", commandID)
}

func (c *AgentConn) transfer(ctx context.Context, op, commandID string, fields ...field) error {
	_, err := c.call(ctx, op, append([]field{{"command_id", commandID}}, fields...)...)
	return err
}

// Extensions returns those in force on this connection; none with a stock
// master.
func (c *AgentConn) Extensions() Extensions { return c.extensions }

// SecretBound reports whether the master knows the secret that the agent
// committed to, which is its password from now on.
func (c *AgentConn) SecretBound() bool { return c.secretBound }

// Machine is the token that the master knows this machine by when its agent is
// started again: see [HeaderMachine]; "" where it gave none.
func (c *AgentConn) Machine() string { return c.machine }

// Done is closed when the connection has ended.
func (c *AgentConn) Done() <-chan struct{} { return c.done }

// Err says why the connection has ended; nil while it has not.
func (c *AgentConn) Err() error {
	select {
	case <-c.done:
		return c.lost("connection ended")
	default:
		return nil
	}
}

// Close ends the connection and waits until the socket is closed, ten seconds
// at most. Methods of the handler may call it.
func (c *AgentConn) Close() error {
	c.end(websocket.StatusNormalClosure, "the worker ends")
	<-c.closed
	return nil
}

// Leave begins to end the connection, and says that the agent's process ends with
// it: no other connection of this session comes.
func (c *AgentConn) Leave() { c.end(closeProcessEnds, "the worker's process ends") }

// Wait waits, after the connection has ended, for every goroutine of it. A
// method of the handler must not call it.
func (c *AgentConn) Wait() {
	<-c.done
	c.wait.Wait()
	c.wg.Wait()
}
