package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// retryPolicy says how a stream that was cut is opened again.
type retryPolicy struct {
	first, most time.Duration // waits between tries, doubling
	give        time.Duration // how long to try without hearing anything
}

// A restart of the master takes seconds. After two minutes somebody wants to
// know that it is gone.
var defaultRetry = retryPolicy{first: 100 * time.Millisecond, most: 5 * time.Second, give: 2 * time.Minute}

// maxMessage bounds a message's data: the master sends about 1 MiB of log
// beyond one line, and JSON makes up to six bytes of one.
const maxMessage = 256 << 20

// serverEvent is one server-sent event.
type serverEvent struct {
	name, id string
	data     []byte
}

// errStop ends a stream from inside its handler.
var errStop = errors.New("stop")

// stream opens a stream and hands its events to handle, again and again after
// cuts, until ctx ends, handle fails, or the master cannot be reached: at the
// first try, or for too long. connected is called each time the stream stands; resumed says whether
// the connection goes on after an id.
func (c *Client) stream(ctx context.Context, path string, query url.Values, connected func(resumed bool) error, handle func(serverEvent) error) error {
	var lastID string
	wait, since := c.retry.first, time.Time{} // since when it does not stand
	for {
		before := lastID
		stood, err := c.streamOnce(ctx, path, query, &lastID, connected, handle)
		if errors.Is(err, errStop) {
			return err // whoever ranges has left, and must not be called again
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if dormouse.CodeOf(err) != dormouse.Unavailable {
			return err
		}
		if stood {
			since = time.Now()
		} else if time.Since(since) > c.retry.give {
			// A stream that never stood was not cut: nobody waits for it.
			return err
		}
		if lastID != before {
			// It got somewhere: the next try need not wait as the last did.
			wait = c.retry.first
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait = min(2*wait, c.retry.most)
	}
}

// streamOnce reads one connection to its end; stood says whether there was one.
// A cut is an Unavailable error; what handle returns comes back as it is.
func (c *Client) streamOnce(ctx context.Context, path string, query url.Values, lastID *string, connected func(bool) error, handle func(serverEvent) error) (stood bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := c.newRequest(ctx, "GET", path, query, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "text/event-stream, application/problem+json")
	if *lastID != "" {
		req.Header.Set("Last-Event-ID", *lastID)
	}
	// The watchdog notices a connection that is dead but not closed, while it
	// is being made, too.
	watchdog := time.AfterFunc(c.silence, cancel)
	defer watchdog.Stop()
	resp, err := c.send(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			err = c.unavailable(errors.New("it says nothing"))
		}
		return false, err
	}
	defer resp.Body.Close()
	if err := connected(*lastID != ""); err != nil {
		return true, err
	}
	events := newEventReader(resp.Body, func() { watchdog.Reset(c.silence) })
	for {
		e, err := events.next()
		if err != nil {
			return true, c.unavailable(err)
		}
		if e.name != "" {
			// The caller may take its time over an event: while it does, the
			// silence is not the master's.
			watchdog.Stop()
			if err := handle(e); err != nil {
				return true, err
			}
			watchdog.Reset(c.silence)
		}
		if e.id != "" {
			*lastID = e.id
		}
	}
}

// eventReader reads server-sent events.
type eventReader struct {
	r     *bufio.Reader
	alive func() // called at each line
}

func newEventReader(r io.Reader, alive func()) *eventReader {
	return &eventReader{r: bufio.NewReaderSize(r, 64<<10), alive: alive}
}

var errTooLong = errors.New("it sends a message that is too long")

// next returns the next event; one without a name only moves the position.
// The end of the stream is io.ErrUnexpectedEOF, for a stream has no end of its
// own.
func (er *eventReader) next() (serverEvent, error) {
	var e serverEvent
	for {
		line, err := er.line()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return serverEvent{}, err
		}
		er.alive()
		if len(line) == 0 {
			if e.name == "" && e.id == "" {
				continue // after a comment
			}
			return e, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			e.name = string(value)
		case "id":
			e.id = string(value)
		case "data":
			if e.data != nil {
				e.data = append(e.data, '\n')
			}
			e.data = append(e.data, value...)
			if len(e.data) > maxMessage {
				return serverEvent{}, errTooLong
			}
		}
	}
}

// line reads a line without its end. It is valid until the next call.
func (er *eventReader) line() ([]byte, error) {
	line, err := er.r.ReadSlice('\n')
	if err == nil {
		return bytes.TrimRight(line, "\r\n"), nil
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(long) > maxMessage {
			return nil, errTooLong
		}
		// Each piece is a sign of life of a long message.
		er.alive()
		line, err = er.r.ReadSlice('\n')
		long = append(long, line...)
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(long, "\r\n"), nil
}
