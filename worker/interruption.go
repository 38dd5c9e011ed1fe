package worker

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// noticeInterval is how often the metadata are asked for an interruption notice:
// "we recommend that you check for the notice every 5 seconds" (Amazon EC2 User
// Guide, "Spot Instance interruption notices"). Nothing announces one.
const noticeInterval = 5 * time.Second

// notices are what EC2 has said of the end of this instance, and whoever waits
// for more.
type notices struct {
	mu      sync.Mutex
	list    []wire.Notice // at most one of each kind
	changed chan struct{}
}

func newNotices() *notices { return &notices{changed: make(chan struct{})} }

// add takes a notice, unless it is known.
func (n *notices) add(notice wire.Notice) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, known := range n.list {
		if known.Rebalance == notice.Rebalance {
			return false // EC2 does not take one back
		}
	}
	n.list = append(n.list, notice)
	close(n.changed)
	n.changed = make(chan struct{})
	return true
}

// after returns the notices from number i on, and what is closed when there are
// more.
func (n *notices) after(i int) ([]wire.Notice, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.list[i:], n.changed
}

// tellNotices tells the master of each notice once on this connection, also of
// those that came while there was none.
func (a *attachment) tellNotices() {
	for told := 0; ; {
		more, changed := a.w.notices.after(told)
		for _, n := range more {
			if err := a.conn.Interruption(a.ctx, n); err != nil {
				if a.ctx.Err() == nil {
					a.log.Warn("the master did not take the interruption notice", "err", err)
				}
				return // the next connection tells it
			}
			told++
		}
		select {
		case <-changed:
		case <-a.ctx.Done():
			return
		}
	}
}

// WatchInterruptions asks the instance metadata for interruption notices and
// rebalance recommendations until ctx ends, and tells each. On an instance that
// is not spot, or where there are no metadata, it asks nothing further.
func WatchInterruptions(ctx context.Context, log *slog.Logger, tell func(wire.Notice)) {
	client := newMetadataClient()
	market := ""
	for failures := 1; market == ""; failures++ {
		var err error
		market, err = readMetadata(ctx, client, "instance-life-cycle")
		if dormouse.CodeOf(err) == dormouse.NotFound {
			return
		}
		if err != nil {
			select {
			case <-time.After(backoff(failures, time.Minute, rand.Float64())):
			case <-ctx.Done():
				return
			}
		}
	}
	if market != string(dormouse.Spot) {
		return
	}
	ticker := time.NewTicker(noticeInterval)
	defer ticker.Stop()
	for {
		if at, ok := noticeTime(ctx, log, client, "events/recommendations/rebalance", "noticeTime"); ok {
			tell(wire.Notice{Rebalance: true, At: at})
		}
		if at, ok := noticeTime(ctx, log, client, "spot/instance-action", "time"); ok {
			tell(wire.Notice{At: at})
			return // there is no more to come
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// noticeTime reads a notice: a document that is there only once EC2 has given
// it, with a time.
func noticeTime(ctx context.Context, log *slog.Logger, client *imds.Client, path, key string) (time.Time, bool) {
	text, err := readMetadata(ctx, client, path)
	if err != nil {
		if dormouse.CodeOf(err) != dormouse.NotFound && ctx.Err() == nil {
			log.Warn("the instance metadata can not be asked for interruptions", "err", err)
		}
		return time.Time{}, false
	}
	var said map[string]string
	err = json.Unmarshal([]byte(text), &said)
	at, terr := time.Parse(time.RFC3339, said[key])
	if err != nil || terr != nil {
		log.Warn("EC2's interruption notice can not be understood", "path", path, "text", text)
		return time.Time{}, false
	}
	return at, true
}

func readMetadata(ctx context.Context, client *imds.Client, path string) (string, error) {
	out, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		return "", metadataError(path, err)
	}
	text, err := readAll(out.Content)
	if err != nil {
		return "", metadataError(path, err)
	}
	return strings.TrimSpace(text), nil
}
