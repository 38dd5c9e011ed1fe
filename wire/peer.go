package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/dormouse-ci/dormouse"
)

// ErrConnectionLost is in the chain of every error that a call returns because
// the connection ended before the call was answered. Whether the other side
// acted on it is not known.
var ErrConnectionLost = errors.New("connection lost")

const (
	// replyBacklog is how many answers may wait to be written before the other
	// side is taken for one that asks without reading. Honest peers have as
	// many requests open as they have commands.
	replyBacklog = 1024
	// keepBuffer is the largest buffer that is used again; a larger one, which
	// only a rare frame needs, goes back to the garbage collector.
	keepBuffer = 256 << 10
	// maxRemoteText bounds what is kept of a text the other side gave as the
	// reason of a failure. A Python traceback fits.
	maxRemoteText = 8 << 10
	// maxCloseReason is what a WebSocket close frame can carry.
	maxCloseReason = 120
)

// peer is one open connection, of either side: it numbers requests, finds the
// waiting caller for each response, and hands requests that come in to serve.
//
// Three goroutines:
//
//	reader    reads frames; calls serve. It never writes and, but for what
//	          serve does to hold the other side back, never waits: so both
//	          sides cannot wait for each other.
//	writer    writes what reply and call give it.
//	closing   started by end: closes the WebSocket, which ends the other two.
type peer struct {
	ws   *websocket.Conn
	name string // whom errors speak of: `worker "x"`, `master ws://…`
	log  *slog.Logger
	// serve handles a request in the order of arrival. It owns buf, which the
	// frame aliases, and gives it back with putBuffer.
	serve func(f *frame, buf []byte)

	ctx      context.Context // of reading and writing; ends once closed
	cancel   context.CancelFunc
	requests chan []byte // unbuffered: a caller is held until its frame is next
	replies  chan []byte

	mu      sync.Mutex
	next    int64
	waiting map[int64]chan answer

	frames atomic.Int64 // frames read: signs of life
	begin  time.Time
	heard  atomic.Int64 // when something was last read, since begin; see watch

	once   sync.Once
	done   chan struct{} // the connection is no longer of use; err is set
	err    error
	closed chan struct{} // the WebSocket is closed
	// farewell: the other side said that its process ends. Set before done.
	farewell atomic.Bool
	wg       sync.WaitGroup
}

type answer struct {
	value     any
	exception bool
}

func newPeer(ws *websocket.Conn, name string, log *slog.Logger) *peer {
	ctx, cancel := context.WithCancel(context.Background())
	ws.SetReadLimit(MaxFrame)
	return &peer{
		ws: ws, name: name, log: log, ctx: ctx, cancel: cancel, begin: time.Now(),
		requests: make(chan []byte), replies: make(chan []byte, replyBacklog),
		waiting: make(map[int64]chan answer),
		done:    make(chan struct{}), closed: make(chan struct{}),
	}
}

// start starts the reader and the writer. readerDone is called when no further
// frame will be served.
func (p *peer) start(readerDone func()) {
	p.wg.Go(func() {
		defer readerDone()
		p.read()
	})
	p.wg.Go(p.write)
}

func (p *peer) read() {
	for {
		kind, r, err := p.ws.Reader(p.ctx)
		if err != nil {
			p.endLost(err)
			return
		}
		if kind != websocket.MessageBinary {
			p.end(websocket.StatusUnsupportedData, "a text frame; the protocol's frames are binary")
			return
		}
		buf, err := readAll(r, getBuffer(), p.hear)
		if err != nil {
			p.endLost(err)
			return
		}
		f, err := parseFrame(buf)
		if err != nil {
			p.end(websocket.StatusInvalidFramePayloadData, err.Error())
			return
		}
		p.frames.Add(1)
		select {
		case <-p.done: // what comes in while closing is for nobody
			return
		default:
		}
		if f.op != "response" {
			p.serve(&f, buf)
			continue
		}
		known := p.answer(&f)
		putBuffer(buf)
		if !known {
			p.end(websocket.StatusProtocolError, fmt.Sprintf("a response to request %d, which was never sent", f.seq))
			return
		}
	}
}

// answer gives a response to its caller. One whose caller has given up is
// dropped; it reports false for one that nobody can ever have asked for.
func (p *peer) answer(f *frame) bool {
	p.mu.Lock()
	ch, ok := p.waiting[f.seq]
	delete(p.waiting, f.seq)
	issued := f.seq >= 0 && f.seq < p.next
	p.mu.Unlock()
	if ok {
		_, exception := f.raw("is_exception")
		ch <- answer{f.value("result"), exception}
	}
	return issued
}

func (p *peer) write() {
	for {
		var b []byte
		select {
		case b = <-p.replies:
		case b = <-p.requests:
		case <-p.done:
			return
		}
		err := p.ws.Write(p.ctx, websocket.MessageBinary, b)
		putBuffer(b)
		if err != nil {
			p.endLost(err)
			return
		}
	}
}

// pending is a request that is on its way.
type pending struct {
	p   *peer
	op  string
	seq int64
	ch  chan answer
}

// send gives a request to the writer: requests that one goroutine sends reach
// the wire in that order. It waits while the connection is busy.
func (p *peer) send(ctx context.Context, op string, fields ...field) (*pending, error) {
	ch := make(chan answer, 1)
	p.mu.Lock()
	seq := p.next
	p.next++
	p.waiting[seq] = ch
	p.mu.Unlock()
	call := &pending{p, op, seq, ch}

	b, err := appendRequest(getBuffer(), seq, op, fields)
	if err == nil && len(b) > MaxFrame {
		err = fmt.Errorf("%d bytes are more than a frame may have (%d)", len(b), MaxFrame)
	}
	if err != nil {
		call.forget()
		putBuffer(b)
		return nil, dormouse.Errorf(dormouse.Invalid, "%s: %s: %w", p.name, op, err)
	}
	select {
	case p.requests <- b:
		return call, nil
	case <-ctx.Done():
		call.forget()
		return nil, fmt.Errorf("%s: %s was not sent: %w", p.name, op, ctx.Err())
	case <-p.done:
		call.forget()
		return nil, p.lost(op)
	}
}

func (c *pending) forget() {
	c.p.mu.Lock()
	delete(c.p.waiting, c.seq)
	c.p.mu.Unlock()
}

// wait returns the answer. An exception is a [*RemoteError].
func (c *pending) wait(ctx context.Context) (any, error) {
	select {
	case a := <-c.ch:
		return c.result(a)
	default:
	}
	select {
	case a := <-c.ch:
		return c.result(a)
	case <-ctx.Done():
		c.forget()
		return nil, fmt.Errorf("%s: %s is not answered: %w", c.p.name, c.op, ctx.Err())
	case <-c.p.done:
		c.forget()
		select {
		case a := <-c.ch:
			return c.result(a)
		default:
			return nil, c.p.lost(c.op)
		}
	}
}

func (c *pending) result(a answer) (any, error) {
	if a.exception {
		return nil, &RemoteError{Peer: c.p.name, Op: c.op, Text: remoteText(a.value)}
	}
	return a.value, nil
}

func (p *peer) call(ctx context.Context, op string, fields ...field) (any, error) {
	c, err := p.send(ctx, op, fields...)
	if err != nil {
		return nil, err
	}
	return c.wait(ctx)
}

// RemoteError is the other side's refusal of a request: the protocol's
// is_exception.
type RemoteError struct {
	Peer string // whose refusal it is
	Op   string
	Text string // its words
}

// Error says who refused what, and why.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("%s refused %s: %s", e.Peer, e.Op, e.Text)
}

// remoteText is how a reason that came in is kept.
func remoteText(v any) string {
	s, ok := v.(string)
	if !ok {
		s = fmt.Sprint(v)
	}
	return shorten(strings.TrimSpace(s), maxRemoteText)
}

// shorten cuts s to at most n bytes, between characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// reply answers request seq, and waits for room if it must. Only goroutines
// other than the reader may call it.
func (p *peer) reply(seq int64, result any, err error) {
	select {
	case p.replies <- encodeReply(seq, result, err):
	case <-p.done:
	}
}

// replyNow answers from the reader, with err or no result. The reader must
// not wait: a peer that lets so many answers pile up unread is cut off.
func (p *peer) replyNow(seq int64, err error) {
	select {
	case p.replies <- encodeReply(seq, nil, err):
	default:
		p.drop(errors.New("requests come in, but their answers are not read"))
	}
}

func encodeReply(seq int64, result any, err error) []byte {
	if err != nil {
		b, _ := appendResponse(getBuffer(), seq, err.Error(), true) // text always encodes
		return b
	}
	b, err := appendResponse(getBuffer(), seq, result, false)
	if err == nil && len(b) > MaxFrame {
		err = fmt.Errorf("a result of %d bytes is more than a frame may have", len(b))
	}
	if err != nil {
		b, _ = appendResponse(b[:0], seq, err.Error(), true)
	}
	return b
}

// end closes the connection and tells the other side why. It does not wait;
// only the first call counts.
func (p *peer) end(code websocket.StatusCode, reason string) {
	p.once.Do(func() {
		p.err = errors.New(reason)
		p.wg.Go(func() {
			defer close(p.closed)
			_ = p.ws.Close(code, shorten(strings.ToValidUTF8(reason, "?"), maxCloseReason))
			p.cancel()
		})
		close(p.done)
	})
}

// drop closes the connection at once, without a word to a peer that does not
// listen.
func (p *peer) drop(err error) {
	p.once.Do(func() {
		p.err = err
		p.wg.Go(func() {
			defer close(p.closed)
			_ = p.ws.CloseNow()
			p.cancel()
		})
		close(p.done)
	})
}

// closeProcessEnds is the status with which our agent closes the connection when its
// process ends, of those that RFC 6455 leaves to private use (4000 to 4999). Others
// say nothing of the process.
const closeProcessEnds websocket.StatusCode = 4001

// endLost ends the connection after a read or a write has failed.
func (p *peer) endLost(err error) {
	var ce websocket.CloseError
	if errors.As(err, &ce) && ce.Code == closeProcessEnds {
		p.farewell.Store(true)
	}
	switch {
	case errors.As(err, &ce) && ce.Reason != "":
		err = fmt.Errorf("closed by the other side: %s", shorten(ce.Reason, maxCloseReason))
	case errors.As(err, &ce):
		err = fmt.Errorf("closed by the other side (%v)", ce.Code)
	case errors.Is(err, websocket.ErrMessageTooBig):
		err = fmt.Errorf("a frame of more than %d bytes", MaxFrame)
	case errors.Is(err, io.EOF):
		err = errors.New("the other side went away")
	}
	p.drop(err)
}

// lost is the error of a call that the end of the connection has cut off.
func (p *peer) lost(what string) error {
	return &dormouse.Error{
		Code:    dormouse.Unavailable,
		Message: fmt.Sprintf("%s: %s", p.name, what),
		Err:     fmt.Errorf("%w: %w", ErrConnectionLost, p.err),
	}
}

// readAll reads r into buf, and calls heard whenever something came.
func readAll(r io.Reader, buf []byte, heard func()) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		heard()
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func getBuffer() []byte {
	b := buffers.Get().(*[]byte)
	return (*b)[:0]
}

func putBuffer(b []byte) {
	if cap(b) <= keepBuffer {
		buffers.Put(&b)
	}
}
