package dormouse

import (
	"encoding/json"
	"maps"
	"slices"
)

// Property is a named value that steps can use and set, with where it came
// from. Value is whatever JSON can hold.
type Property struct {
	Value  any    `json:"value"`
	Source string `json:"source"`
}

// Properties are a build's properties by name.
type Properties map[string]Property

// Set gives a property a value, replacing any earlier one.
func (p Properties) Set(name string, value any, source string) {
	p[name] = Property{Value: value, Source: source}
}

// Update copies all of other over p; on a name both have, other's wins.
func (p Properties) Update(other Properties) { maps.Copy(p, other) }

// Clone returns a copy that shares no map with p; never nil.
func (p Properties) Clone() Properties {
	out := make(Properties, len(p))
	maps.Copy(out, p)
	return out
}

// IsBuildFact reports whether a property says what a build is of and where it
// runs. A builder's own property of that name has no effect.
func IsBuildFact(name string) bool {
	switch name {
	case "workername", "builddir", "basedir", "buildnumber", "artifactsdir", "branch", "revision", "repository", "project", "codebase":
		return true
	}
	return false
}

// Names returns the properties' names, sorted.
func (p Properties) Names() []string { return slices.Sorted(maps.Keys(p)) }

// SameJSON reports whether two values are the same once written as JSON.
func SameJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}
