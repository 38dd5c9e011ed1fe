package fleet

import "time"

// young reports whether less than a limit has passed since a time of day. Where that
// is ahead by the limit or more, the clock was ahead then, or has been set back
// since: nobody knows how long ago it was, and it would be young for as long as the
// clock was wrong.
func young(since, now time.Time, limit time.Duration) bool {
	age := now.Round(0).Sub(since.Round(0)) // by the time of day, as what is stored is
	return -limit < age && age < limit
}
