package config

import (
	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// budgetKeys are the caps that a budget can have.
var budgetKeys = wordSet("per_hour per_day")

// budget reads c['budget'].
func (g *global) budget() (b Budget) {
	f, ok := g.some("budget")
	if !ok {
		return b
	}
	names, values := g.pairs("budget")
	for _, name := range names {
		v := values[name]
		const allowed = "a positive amount of US dollars"
		switch name {
		case "per_hour":
			b.PerHour = v.money(allowed)
		case "per_day":
			b.PerDay = v.money(allowed)
		default:
			g.r.errorf(g.nestedKey("budget", name), dialect.DidYouMean(name, sortedKeys(budgetKeys)), "c['budget'] has no key %s", quote(name))
		}
	}
	if _, isDict := f.v.(*starlark.Dict); isDict && len(names) == 0 {
		f.bad("a dictionary with per_hour, per_day or both")
	}
	return b
}
