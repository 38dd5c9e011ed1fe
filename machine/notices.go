package machine

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// noticeInterval is how often the metadata are asked for an interruption notice:
// "we recommend that you check for the notice every 5 seconds" (Amazon EC2 User
// Guide, "Spot Instance interruption notices"). Nothing announces one.
const noticeInterval = 5 * time.Second

// WatchInterruptions asks the instance metadata for interruption notices and
// rebalance recommendations until ctx ends, and tells each. On an instance that
// is not spot, or where there are no metadata, it asks nothing further.
func WatchInterruptions(ctx context.Context, log *slog.Logger, tell func(wire.Notice)) {
	watchInterruptions(ctx, log, tell, noticeInterval)
}

func watchInterruptions(ctx context.Context, log *slog.Logger, tell func(wire.Notice), interval time.Duration) {
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
			case <-time.After(Backoff(failures, time.Minute, rand.Float64())):
			case <-ctx.Done():
				return
			}
		}
	}
	if market != string(dormouse.Spot) {
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	announced := func() bool {
		at, ok := noticeTime(ctx, log, client, "spot/instance-action", "time")
		if ok {
			tell(wire.Notice{At: at})
		}
		return ok
	}
	for recommended := false; !announced(); { // else there is no more to come
		if !recommended {
			var at time.Time
			at, recommended = noticeTime(ctx, log, client, "events/recommendations/rebalance", "noticeTime")
			if recommended && announced() { // it has come along, since it was looked for
				return
			}
			if recommended {
				tell(wire.Notice{Rebalance: true, At: at})
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// noticeTime reads a notice: a document that is there only once EC2 has given
// it, with a time of this machine's clock.
func noticeTime(ctx context.Context, log *slog.Logger, client *imds.Client, path, key string) (time.Time, bool) {
	text, err := readMetadata(ctx, client, path)
	if err != nil {
		if dormouse.CodeOf(err) != dormouse.NotFound && ctx.Err() == nil {
			log.Warn("the instance metadata cannot be asked for interruptions", "error", err)
		}
		return time.Time{}, false
	}
	var said map[string]string
	err = json.Unmarshal([]byte(text), &said)
	at, terr := time.Parse(time.RFC3339, said[key])
	if err != nil || terr != nil {
		log.Warn("EC2's interruption notice cannot be understood", "path", path, "text", text)
		return time.Time{}, false
	}
	now := time.Now()
	return now.Add(at.Sub(now)), true // from here on by the clock that nobody sets
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
