package wire

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/dormouse-ci/dormouse"
)

var ErrConnectionLost = errors.New("connection lost")
var errTodo = errors.New("not yet")

type Hello struct{ Name, Password, RemoteAddr, InstanceID, Agent string }
type ServerOptions struct {
	Authenticate func(ctx context.Context, h Hello) (generation int64, err error)
	Attach       func(ctx context.Context, w *Worker) error
	Detached     func(w *Worker)
	Log          *slog.Logger
	PingTimeout  time.Duration
}
type Server struct{}

func NewServer(o ServerOptions) *Server                             { return &Server{} }
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {}
func (s *Server) Shutdown(ctx context.Context) error                { return nil }
func EqualSecret(a, b string) bool                                  { return false }

type Info struct {
	BaseDir, Version, System string
	NumCPUs                  int
	Environ, Commands        map[string]string
	Admin, Host, AccessURI   string
	DeleteLeftoverDirs       bool
	Extra                    map[string]string // every other text: os_id, os_version_id, …
}
type BuilderDir struct{ Name, Dir string }
type Worker struct{}

func (w *Worker) Name() string                                          { return "" }
func (w *Worker) Generation() int64                                     { return 0 }
func (w *Worker) Hello() Hello                                          { return Hello{} }
func (w *Worker) Info() Info                                            { return Info{} }
func (w *Worker) SetBuilders(ctx context.Context, b []BuilderDir) error { return nil }
func (w *Worker) Path(elem ...string) string                            { return "" }
func (w *Worker) Ping(ctx context.Context) error                        { return nil }
func (w *Worker) Print(ctx context.Context, msg string) error           { return nil }
func (w *Worker) Shutdown(ctx context.Context) error                    { return nil }
func (w *Worker) Close(reason string)                                   {}
func (w *Worker) Done() <-chan struct{}                                 { return nil }
func (w *Worker) Err() error                                            { return nil }
func (w *Worker) Start(ctx context.Context, c Command, on func(context.Context, Update) error) (*Running, error) {
	return nil, errTodo
}

type Command struct {
	Name     string
	Builder  string
	Args     map[string]any
	Transfer Transfer
}
type FileWriter interface {
	Write(ctx context.Context, p []byte) error
	SetTimes(ctx context.Context, accessed, modified time.Time) error
	Close(ctx context.Context) error
}
type DirectoryWriter interface {
	Write(ctx context.Context, p []byte) error // pieces of a tar archive
	Unpack(ctx context.Context) error
}
type FileReader interface {
	Read(ctx context.Context, n int) ([]byte, error) // empty at the end
	Close(ctx context.Context) error
}
type Transfer struct {
	File      FileWriter
	Directory DirectoryWriter
	Reader    FileReader
}
type Update struct {
	Kind    string
	LogName string
	Lines   []dormouse.LogLine
	Value   any // int64, float64, string, []byte, bool, nil, []any, map[string]any
}
type Running struct{}

func (r *Running) Wait(ctx context.Context) error                  { return nil }
func (r *Running) Interrupt(ctx context.Context, why string) error { return nil }

type Settings struct {
	NewlineRE     string
	MaxLineLength int
	BufferSize    int
	BufferTimeout time.Duration
}
type AgentHandler interface {
	WorkerInfo() map[string]any
	Settings(Settings)
	StartCommand(ctx context.Context, id, name string, args map[string]any) error
	InterruptCommand(id, why string) error
	Print(msg string)
	Shutdown()
}
type DialOptions struct {
	URL, Name, Password, InstanceID, Agent string
	Handler                                AgentHandler
	// Connected, if not nil, is called with the connection before any method of Handler is.
	Connected   func(*AgentConn)
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Log         *slog.Logger
}
type AgentConn struct{}

func Dial(ctx context.Context, o DialOptions) (*AgentConn, error) { return nil, errTodo }

type UpdatePair struct {
	Key   string
	Value any
}

func EncodeOutput(lines []dormouse.LogLine) any                  { return nil } // value of stdout, stderr, header
func EncodeLog(name string, lines []dormouse.LogLine) UpdatePair { return UpdatePair{} }
func EncodeStreams(lines []dormouse.LogLine) []UpdatePair        { return nil } // runs of one stream each
func (c *AgentConn) Update(ctx context.Context, commandID string, updates []UpdatePair) error {
	return nil
}

// SendUpdate returns once the update has its place on the wire; wait returns when it is acknowledged.
func (c *AgentConn) SendUpdate(ctx context.Context, commandID string, updates []UpdatePair) (wait func(context.Context) error, err error) {
	return nil, nil
}
func (c *AgentConn) Complete(ctx context.Context, commandID, failure string) error { return nil }
func (c *AgentConn) Keepalive(ctx context.Context) error                           { return nil }
func (c *AgentConn) UploadWrite(ctx context.Context, commandID string, p []byte) error {
	return nil
}
func (c *AgentConn) UploadClose(ctx context.Context, commandID string) error { return nil }
func (c *AgentConn) UploadTimes(ctx context.Context, commandID string, accessed, modified time.Time) error {
	return nil
}
func (c *AgentConn) DirectoryWrite(ctx context.Context, commandID string, p []byte) error {
	return nil
}
func (c *AgentConn) DirectoryUnpack(ctx context.Context, commandID string) error { return nil }
func (c *AgentConn) ReadFile(ctx context.Context, commandID string, n int) ([]byte, error) {
	return nil, nil
}
func (c *AgentConn) ReadFileClose(ctx context.Context, commandID string) error { return nil }
func (c *AgentConn) Done() <-chan struct{}                                     { return nil }
func (c *AgentConn) Err() error                                                { return nil }
func (c *AgentConn) Close() error                                              { return nil }
