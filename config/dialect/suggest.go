package dialect

import (
	"strings"
)

// DidYouMean is a hint that names the known word nearest to name, or all of
// them when they are few, or nothing.
func DidYouMean(name string, known []string) string {
	const few = 6     // as many as one reads at a glance
	const telling = 4 // letters: fewer are part of too many words
	best, least := "", len([]rune(name))/3+2
	for _, k := range known {
		if len(name) >= telling && strings.Contains(strings.ToLower(k), strings.ToLower(name)) && least > 1 {
			best, least = k, 1
		}
		if d := Distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	switch {
	case best != "":
		return "did you mean " + best + "?"
	case len(known) > 0 && len(known) <= few:
		return "there is " + strings.Join(known, ", ")
	}
	return ""
}

// Distance is how many letters have to be put in, taken out, replaced or
// swapped with their neighbour to make b of a.
func Distance(a, b string) int {
	const limit = 64 // what is longer is no misspelt name, and this is quadratic
	x, y := []rune(a), []rune(b)
	if len(x) > limit || len(y) > limit {
		return limit
	}
	var old []int // the row before the previous one
	prev := make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range x {
		row := make([]int, len(y)+1)
		row[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, prev[j+1]+1, prev[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				row[j+1] = min(row[j+1], old[j-1]+1)
			}
		}
		old, prev = prev, row
	}
	return prev[len(y)]
}
