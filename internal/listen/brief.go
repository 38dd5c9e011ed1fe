package listen

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// briefLines of one message are written in briefTime; what comes beyond is
	// counted, and said when that time is over.
	briefLines = 10
	briefTime  = time.Minute
	// briefKinds bounds how many messages are told apart. A message is a constant
	// of the program, so that there are fewer.
	briefKinds = 64
)

// Brief returns a logger whose lines cannot flood: of each message a few are
// written in a minute, and then how many more there were.
func Brief(log *slog.Logger) *slog.Logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return slog.New(&brief{Handler: log.Handler(), counts: &counts{kinds: map[string]*kind{}}})
}

// brief is the handler of a logger by Brief.
type brief struct {
	slog.Handler
	*counts
}

// counts is common to a logger and those made of it.
type counts struct {
	mu    sync.Mutex
	kinds map[string]*kind
}

// kind is what there was of one message.
type kind struct {
	began      time.Time
	lines      int
	suppressed int
}

// Handle writes a record, or counts it.
func (b *brief) Handle(ctx context.Context, r slog.Record) error {
	if !b.admit(r) {
		return nil
	}
	return b.Handler.Handle(ctx, r)
}

// WithAttrs is slog's.
func (b *brief) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &brief{b.Handler.WithAttrs(attrs), b.counts}
}

// WithGroup is slog's.
func (b *brief) WithGroup(name string) slog.Handler {
	return &brief{b.Handler.WithGroup(name), b.counts}
}

func (b *brief) admit(r slog.Record) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	message := r.Message
	k := b.kinds[message]
	if k == nil {
		if len(b.kinds) >= briefKinds {
			message = "" // one kind for all the others
		}
		if k = b.kinds[message]; k == nil {
			k = &kind{began: now}
			b.kinds[message] = k
		}
	}
	if k.suppressed == 0 && now.Sub(k.began) >= briefTime {
		*k = kind{began: now}
	}
	if k.lines < briefLines {
		k.lines++
		return true
	}
	if k.suppressed++; k.suppressed == 1 {
		time.AfterFunc(max(k.began.Add(briefTime).Sub(now), 0), func() { b.sum(k, r.Level, r.Message) })
	}
	return false
}

// sum says how many lines of a kind were left out, and begins anew.
func (b *brief) sum(k *kind, level slog.Level, message string) {
	b.mu.Lock()
	n := k.suppressed
	*k = kind{began: time.Now()}
	b.mu.Unlock()
	r := slog.NewRecord(time.Now(), level, message, 0)
	r.AddAttrs(slog.Int("suppressed", n), slog.String("in", briefTime.String()))
	_ = b.Handler.Handle(context.Background(), r) // as slog does
}
