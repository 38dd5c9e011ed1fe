package wire

import (
	"context"
	"fmt"

	"github.com/dormouse-ci/dormouse"
)

// KeepCommands says of which groups commands may go on; the worker ends all
// others that an earlier connection started, and answers once they have ended.
// It comes before anything else is asked of a worker that [Worker.Resumes].
func (w *Worker) KeepCommands(ctx context.Context, groups []string) error {
	list := make([]any, len(groups))
	for i, g := range groups {
		list[i] = g
	}
	_, err := w.call(ctx, "keep_commands", field{"groups", list})
	return err
}

// EndsGroups reports whether the worker can be told that a group has ended.
func (w *Worker) EndsGroups() bool { return w.hello.Extensions.Has(Groups) }

// EndGroup has a worker that [Worker.EndsGroups] end all that commands of a group
// have left behind, and returns the processes that there were, by name.
func (w *Worker) EndGroup(ctx context.Context, group string) (ended []string, err error) {
	v, err := w.call(ctx, "end_group", field{"group", group})
	list, _ := v.([]any)
	for _, name := range list {
		ended = append(ended, remoteText(name))
	}
	return ended, err
}

// Resume goes on with a command of a group that an earlier connection started:
// what the worker has to say beyond position, which is an [Update]'s, is given
// to on as [Worker.Start] would. A worker that has no such command, because it
// never got the order, is [dormouse.NotFound].
func (w *Worker) Resume(ctx context.Context, c Command, position int64, on func(ctx context.Context, u Update) error) (*Running, error) {
	w.mu.Lock()
	if w.finished {
		w.mu.Unlock()
		return nil, w.lost("resume_command " + c.Name)
	}
	r := w.listen(ctx, c.ID, c, on)
	r.position = position
	w.mu.Unlock()
	v, err := w.call(ctx, "resume_command", field{"command_id", c.ID}, field{"position", position})
	if known, ok := v.(bool); err == nil && (!ok || !known) {
		err = dormouse.Errorf(dormouse.NotFound, "worker %q has no command %s", w.Name(), c.ID)
	}
	if err != nil {
		w.deafen(r, err)
		return nil, fmt.Errorf("going on with command %s: %w", c.Name, err)
	}
	return r, nil
}
