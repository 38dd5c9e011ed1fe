package build

import (
	"maps"
	"reflect"
	"slices"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
	"github.com/dormouse-ci/dormouse/wire"
)

// variable renders the value of an environment variable. Workers replace ${NAME}
// in it, as in Buildbot; that is for what the configuration wrote. A secret, a
// property or a source stamp that has such a text in it is not changed.
func (s *step) variable(name string, v any) (any, error) {
	scope := s.scope()
	scope.Properties = s.build.literalProperties()
	scope.Sources = make([]dormouse.SourceStamp, len(s.build.job.Request.Sources))
	for i, from := range s.build.job.Request.Sources {
		for _, text := range []*string{&from.Branch, &from.Revision, &from.Repository, &from.Project, &from.Codebase} {
			*text = wire.Literal(*text)
		}
		scope.Sources[i] = from
	}
	scope.Worker = maps.Clone(scope.Worker)
	for fact, text := range scope.Worker {
		scope.Worker[fact] = wire.Literal(text)
	}
	if find := scope.Secret; find != nil {
		scope.Secret = func(name string) (string, error) {
			value, err := find(name)
			if value = wire.Literal(value); err == nil {
				s.build.mask.add(wire.EscapedLiteral(value), "<"+name+">")
			}
			return value, err
		}
	}
	out, err := expr.Render(v, scope)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.CodeOf(err), "environment variable %s cannot be rendered: %w", name, err)
	}
	return out, nil
}

// literalProperties are the build's properties with ${ marked in all values but
// those that stand in the configuration as they are.
func (b *running) literalProperties() dormouse.Properties {
	written := append([]map[string]any{b.job.Builder.Properties, b.job.Builder.DefaultProperties}, b.job.ConfiguredProperties...)
	for _, spec := range b.job.Builder.Steps {
		if set, ok := spec.Action.(dormouse.SetProperty); ok {
			all, _ := set.All.(map[string]any)
			written = append(written, set.Values, all)
		}
	}
	out := b.props.Clone()
	for name, p := range out {
		stands := slices.ContainsFunc(written, func(from map[string]any) bool {
			v, there := from[name]
			return there && reflect.DeepEqual(v, p.Value)
		})
		if !stands {
			out.Set(name, literal(p.Value), p.Source)
		}
	}
	return out
}

// literal marks ${ in all texts of a value.
func literal(v any) any {
	switch v := v.(type) {
	case string:
		return wire.Literal(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = literal(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = literal(v[k])
		}
		return out
	}
	return v
}
