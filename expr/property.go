package expr

import "github.com/dormouse-ci/dormouse"

// PropertyRef is the value of a property, whatever its type; Buildbot's
// util.Property.
type PropertyRef struct {
	Name    string
	Default any // may be Renderable
	// DefaultWhenFalse takes the default also for a property that is there but
	// false, empty or zero. Buildbot's default is true.
	DefaultWhenFalse bool
}

// Render returns the property's value or the default's.
func (r PropertyRef) Render(scope Scope) (any, error) {
	if p, ok := scope.Properties[r.Name]; ok {
		v, err := Render(p.Value, scope)
		if err != nil || !r.DefaultWhenFalse || Truthy(v) {
			return v, err
		}
	}
	return Render(r.Default, scope)
}

// SecretRef is a secret; Buildbot's util.Secret.
type SecretRef struct{ Name string }

// Render looks the secret up.
func (r SecretRef) Render(scope Scope) (any, error) {
	if scope.Secret == nil {
		return nil, dormouse.Errorf(dormouse.Invalid, "secret %q cannot be used here", r.Name)
	}
	return scope.Secret(r.Name)
}
