package fleet

import (
	"fmt"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Affords says what a budget means for an instance at a price per hour where no
// other one runs and nothing was spent: whether one is ever launched, and, where
// not at every hour, why.
func (b Budget) Affords(price float64) (ever bool, why string) {
	midnight := dormouse.Day(time.Unix(0, 0).UTC())
	n, why := b.Admit(nil, 0, &price, 1, midnight)
	switch {
	case n == 1:
		return true, ""
	case b.PerHour != nil && price > *b.PerHour+slack:
		return false, why
	case price*leastBilled.Hours() > *b.PerDay+slack:
		return false, fmt.Sprintf("the first minute of an instance at %s per hour is more than the whole budget of %s per day: raise per_day in c['budget'], or choose a cheaper instance type",
			dollars(price), dollars(*b.PerDay))
	}
	from, _ := b.nextInDay(b.dayOf(nil, 0, midnight), price)
	return true, fmt.Sprintf("the budget of %s per day keeps what an instance costs to midnight UTC, and a whole day of one at %s per hour is %s: none is launched before %s UTC; raise per_day in c['budget'], or choose a cheaper instance type",
		dollars(*b.PerDay), dollars(price), dollars(price*24), from.UTC().Format("15:04"))
}
