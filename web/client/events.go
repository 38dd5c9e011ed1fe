package client

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/url"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// EventQuery says which events are wanted. Its zero value is all but
// log.appended.
type EventQuery struct {
	// Kinds are whole kinds ("build.finished") or what they are about
	// ("build").
	Kinds   []string
	Builder string
	Build   int64
}

// Message is what [Client.Events] yields: an event, or the news that events may
// have been missed.
type Message struct {
	Event dormouse.Event
	// Reset tells to read the state again, now: what happens after that will
	// come. It is true, without an event, for the first message of all and
	// whenever a connection could not go on where the last one was cut.
	Reset bool
}

// Events listens to what happens. It ends with an error when ctx ends, the
// master refuses, or it cannot be reached at first, or later for two minutes.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[Message, error] {
	v := url.Values{}
	for i, k := range q.Kinds {
		if i == 0 {
			v.Set("kind", k)
			continue
		}
		v.Set("kind", v.Get("kind")+","+k)
	}
	setText(v, "builder", q.Builder)
	setInt(v, "build", q.Build)
	return func(yield func(Message, error) bool) {
		pass := func(m Message) error {
			if !yield(m, nil) {
				return errStop
			}
			return nil
		}
		err := c.stream(ctx, path("events"), v,
			func(resumed bool) error {
				if resumed {
					return nil
				}
				return pass(Message{Reset: true})
			},
			func(e serverEvent) error {
				switch e.name {
				case "reset":
					return pass(Message{Reset: true})
				case "event":
					var m Message
					if err := json.Unmarshal(e.data, &m.Event); err != nil {
						return c.garbled(err)
					}
					return pass(m)
				}
				return nil // of a newer master
			})
		if err != nil && !errors.Is(err, errStop) {
			yield(Message{}, err)
		}
	}
}

// FollowLog yields a log's lines, beginning with number from, until it is
// complete. A cut connection is taken up again without a gap or a repetition.
// It ends with an error when ctx ends, the master refuses, or it cannot be
// reached at first, or later for two minutes.
func (c *Client) FollowLog(ctx context.Context, id, from int64) iter.Seq2[web.Line, error] {
	v := url.Values{}
	setInt(v, "from", from)
	return func(yield func(web.Line, error) bool) {
		next := from
		err := c.stream(ctx, path("logs", num(id), "stream"), v,
			func(bool) error { return nil },
			func(e serverEvent) error {
				switch e.name {
				case "complete":
					return errStop
				case "lines":
					var run web.LogContents
					if err := json.Unmarshal(e.data, &run); err != nil {
						return c.garbled(err)
					}
					for _, line := range run.Lines {
						if line.Number < next {
							continue
						}
						next = line.Number + 1
						if !yield(line, nil) {
							return errStop
						}
					}
				}
				return nil
			})
		if err != nil && !errors.Is(err, errStop) {
			yield(web.Line{}, err)
		}
	}
}
