package worker

import "time"

const (
	// firstRetry is the longest wait after the first failure: a master that
	// restarts is back in seconds.
	firstRetry = time.Second
	// defaultMaxDelay is the stock worker's.
	defaultMaxDelay = 5 * time.Minute
	// heldMaxDelay takes the place of a longer limit while commands go on
	// without a master: one that was restarted gives a worker that has builds
	// only so long to come back (90 s).
	heldMaxDelay = 15 * time.Second
	// settled is how long an attachment must have lasted to count as a
	// success: one that ends sooner was not accepted in earnest, and trying
	// again at once would be a storm.
	settled = 10 * time.Second
)

// backoff returns how long to wait after so many failures in a row (1 is the
// first): doubling from [firstRetry] to longest, and then a part of that
// between half and all by chance, which is in [0, 1), so that a hundred
// workers do not come back at once.
func backoff(failures int, longest time.Duration, chance float64) time.Duration {
	delay := firstRetry
	for range failures - 1 {
		delay *= 2
		if delay >= longest {
			break
		}
	}
	delay = min(delay, longest)
	half := delay / 2
	return half + time.Duration(chance*float64(delay-half))
}
