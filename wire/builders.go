package wire

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// The settings that our master gives to workers.
const (
	// maxLineLength, in characters. Buildbot's 4,096 would do, but its worker
	// loses text of lines that are longer than this, so it is as much as a
	// full buffer.
	maxLineLength = 64 << 10
	// bufferSize is how much output makes a worker send what it has; Buildbot's
	// own value.
	bufferSize = 64 << 10
	// bufferTimeout is how long output may wait for more. Buildbot's 5 s would
	// have a person wait for what a command printed; five frames a second and
	// command are no load.
	bufferTimeout = 200 * time.Millisecond
	// newlineRE is what workers turn into a newline: CR LF, a CR that more text
	// follows, sequences that move the cursor away, and runs of backspaces. It
	// is Python's syntax, and to the letter what stock masters send, since a
	// worker may know this one expression only.
	newlineRE = `(\r\n|\r(?=.)|\033\[u|\033\[[0-9]+;[0-9]+[Hf]|\033\[2J|\x08+)`
)

// BuilderDir is a builder and its directory, relative to the worker's.
type BuilderDir struct{ Name, Dir string }

// SetBuilders tells the worker its settings, makes the directories of these
// builders where they are missing (and the worker's own "info"), and removes
// those of other builders if the worker said that it wants that.
func (w *Worker) SetBuilders(ctx context.Context, builders []BuilderDir) error {
	wanted := []string{"info"}
	for _, b := range builders {
		if dir := b.Dir; dir == "" || dir == "." || dir == ".." || strings.ContainsAny(dir, `/\`) {
			return dormouse.Errorf(dormouse.Invalid, "builder %q: %q is not the name of a directory", b.Name, dir)
		}
		wanted = append(wanted, b.Dir)
	}
	_, err := w.call(ctx, "set_worker_settings", field{"args", map[string]any{
		"newline_re": newlineRE, "max_line_length": maxLineLength,
		"buffer_size": bufferSize, "buffer_timeout": bufferTimeout.Seconds(),
	}})
	if err != nil {
		return err
	}
	values, err := w.collect(ctx, "listdir", map[string]any{"path": w.info.BaseDir}, "files")
	if err != nil {
		return err
	}
	missing := make(map[string]bool)
	for _, dir := range wanted {
		missing[dir] = true
	}
	var leftover []any
	files, _ := values["files"].([]any)
	for _, v := range files {
		name, _ := v.(string)
		if _, ours := missing[name]; ours {
			missing[name] = false
			continue
		}
		if w.info.DeleteLeftoverDirs && w.isDirectory(ctx, name) {
			leftover = append(leftover, w.Path(name))
		}
	}
	if len(leftover) > 0 {
		w.log.Info("removing directories of former builders", "dirs", leftover)
		if _, err := w.collect(ctx, "rmdir", map[string]any{"paths": leftover}); err != nil {
			return err
		}
	}
	var create []any
	for _, dir := range wanted {
		if missing[dir] {
			missing[dir] = false // named once
			create = append(create, w.Path(dir))
		}
	}
	if len(create) > 0 {
		if _, err := w.collect(ctx, "mkdir", map[string]any{"paths": create}); err != nil {
			return err
		}
	}
	return nil
}

// directoryBits is S_IFDIR under S_IFMT, as stat(2) has them.
const formatBits, directoryBits = 0o170000, 0o040000

// isDirectory asks the worker. What cannot be asked is no directory: it is
// left alone.
func (w *Worker) isDirectory(ctx context.Context, name string) bool {
	values, err := w.collect(ctx, "stat", map[string]any{"path": w.Path(name)}, "stat")
	if err != nil {
		return false
	}
	fields, _ := values["stat"].([]any)
	if len(fields) == 0 {
		return false
	}
	mode, _ := fields[0].(int64)
	return mode&formatBits == directoryBits
}

// collect runs a small command to its end and returns the values it reported,
// by kind. An rc other than 0, or a missing value, is an error.
func (w *Worker) collect(ctx context.Context, name string, args map[string]any, need ...string) (map[string]any, error) {
	values := make(map[string]any)
	var said strings.Builder
	r, err := w.Start(ctx, Command{Name: name, Args: args}, func(_ context.Context, u Update) error {
		if u.Lines == nil {
			values[u.Kind] = u.Value
			return nil
		}
		for _, line := range u.Lines {
			if said.Len() < maxRemoteText {
				said.WriteString(line.Text + "\n")
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := r.Wait(ctx); err != nil {
		return nil, err
	}
	if rc := values["rc"]; rc != int64(0) {
		return nil, dormouse.Errorf(dormouse.Internal, "%s: %s ended with code %v: %s",
			w.name, name, rc, shorten(strings.TrimSpace(said.String()), maxRemoteText))
	}
	for _, kind := range need {
		if _, ok := values[kind]; !ok {
			return nil, dormouse.Errorf(dormouse.Internal, "%s: %s reported no %q", w.name, name, kind)
		}
	}
	return values, nil
}

// Path joins elements below the worker's base directory, with the separator of
// the worker's system. It does not keep elements from climbing out with "..".
func (w *Worker) Path(elem ...string) string {
	if w.info.System != "nt" {
		return path.Join(append([]string{w.info.BaseDir}, elem...)...)
	}
	joined := strings.TrimRight(w.info.BaseDir, `\/`)
	for _, e := range elem {
		if e = strings.Trim(strings.ReplaceAll(e, "/", `\`), `\`); e != "" {
			joined += `\` + e
		}
	}
	return joined
}

// Info is what a worker says of itself when it attaches. What it left out, or
// gave as something unexpected, is zero.
type Info struct {
	BaseDir string // absolute, on the worker
	Version string // of the worker's software
	System  string // Python's os.name: "posix" or "nt"
	NumCPUs int
	Environ map[string]string
	// Commands are the versions of the commands it knows.
	Commands           map[string]string
	Admin              string
	Host               string
	AccessURI          string
	DeleteLeftoverDirs bool
	// Extra is every other text, such as "os_id" and files of the worker's
	// info directory.
	Extra map[string]string
}

func infoFrom(v any) Info {
	m, _ := v.(map[string]any)
	info := Info{Environ: textMap(m["environ"]), Commands: textMap(m["worker_commands"]), Extra: make(map[string]string)}
	for key, v := range m {
		text, isText := v.(string)
		switch key {
		case "basedir":
			info.BaseDir = text
		case "version":
			info.Version = text
		case "system":
			info.System = text
		case "admin":
			info.Admin = strings.TrimSpace(text)
		case "host":
			info.Host = strings.TrimSpace(text)
		case "access_uri":
			info.AccessURI = strings.TrimSpace(text)
		case "numcpus":
			// A number given to the stock worker by option arrives as text.
			if n, err := fmt.Sscan(fmt.Sprint(v), &info.NumCPUs); n != 1 || err != nil || info.NumCPUs < 0 {
				info.NumCPUs = 0
			}
		case "delete_leftover_dirs":
			info.DeleteLeftoverDirs, _ = v.(bool)
		default:
			if isText {
				info.Extra[key] = text
			}
		}
	}
	return info
}

func textMap(v any) map[string]string {
	m, _ := v.(map[string]any)
	out := make(map[string]string, len(m))
	for key, v := range m {
		if s, ok := v.(string); ok {
			out[key] = s
		}
	}
	return out
}
