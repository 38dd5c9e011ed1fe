package machine

import "time"

// firstRetry is the longest wait after the first failure: a master that restarts
// is back in seconds.
const firstRetry = time.Second

// Backoff returns how long to wait after so many failures in a row (1 is the
// first): doubling from a second to longest, and then a part of that
// between half and all by chance, which is in [0, 1), so that a hundred
// workers do not come back at once.
func Backoff(failures int, longest time.Duration, chance float64) time.Duration {
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
