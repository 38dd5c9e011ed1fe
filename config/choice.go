package config

import (
	"fmt"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// readChoices reads the functions that decide over a builder's requests.
func readChoices(a arguments, builder string) dormouse.Choices {
	var c dormouse.Choices
	p := a.r.program
	of := func() starlark.Value {
		return &record{name: "builder", attrs: starlark.StringDict{"name": starlark.String(builder)}}
	}
	if f := readChoice(a, "nextBuild", 2, "def nextBuild(builder, requests): …"); f != nil {
		c.NextBuild = func(requests []dormouse.BuildRequest) (int64, error) {
			list := make([]starlark.Value, len(requests))
			byRecord := make(map[starlark.Value]int64, len(requests))
			for i, r := range requests {
				list[i] = newRequest(r)
				byRecord[list[i]] = r.ID
			}
			v, err := p.choose(callSteps, f, of(), starlark.NewList(list))
			if err != nil || v == starlark.None {
				return 0, err
			}
			if _, isRecord := v.(*record); isRecord {
				if id, ok := byRecord[v]; ok {
					return id, nil
				}
			}
			return 0, &expr.FunctionError{Message: f.Name() + " must return one of the requests that it is given, or None"}
		}
	}
	if f := readChoice(a, "nextWorker", 3, "def nextWorker(builder, workers, request): …"); f != nil {
		c.NextWorker = func(workers []string, r dormouse.BuildRequest) (string, error) {
			list := make([]starlark.Value, len(workers))
			byRecord := make(map[starlark.Value]string, len(workers))
			for i, w := range workers {
				list[i] = newWorker(w)
				byRecord[list[i]] = w
			}
			v, err := p.choose(choiceSteps, f, of(), starlark.NewList(list), newRequest(r))
			if err != nil || v == starlark.None {
				return "", err
			}
			if _, isRecord := v.(*record); isRecord {
				if name, ok := byRecord[v]; ok {
					return name, nil
				}
			}
			return "", &expr.FunctionError{Message: f.Name() + " must return one of the workers that it is given, or None"}
		}
	}
	if f := readChoice(a, "canStartBuild", 3, "def canStartBuild(builder, worker, request): …"); f != nil {
		c.CanStartBuild = func(worker string, r dormouse.BuildRequest) (bool, error) {
			return p.decide(f, of(), newWorker(worker), newRequest(r))
		}
	}
	return c
}

// readChoice reads an argument that is a function, if it is given.
func readChoice(a arguments, name string, params int, example string) starlark.Callable {
	if !a.given(name) {
		return nil
	}
	return a.function(name, params, example)
}

// collapseExample is how a function is written that says whether requests may be
// merged.
const collapseExample = "def collapse(master, builder, req1, req2): …"

// collapseFunction reads a function that says whether one request may be merged
// into another.
func (f field) collapseFunction() func(builder string) func(newer, older dormouse.BuildRequest) (bool, error) {
	params := 4
	if def, ok := f.v.(*starlark.Function); ok && def.NumParams() == 3 {
		params = 3 // as Buildbot had it before
	}
	fn := f.function(params, collapseExample)
	if fn == nil {
		return nil
	}
	p := f.r.program
	return func(builder string) func(newer, older dormouse.BuildRequest) (bool, error) {
		return func(newer, older dormouse.BuildRequest) (bool, error) {
			b := &record{name: "builder", attrs: starlark.StringDict{"name": starlark.String(builder)}}
			args := []starlark.Value{starlark.None, b, newRequest(newer), newRequest(older)}
			return p.decide(fn, args[4-params:]...)
		}
	}
}

// choose calls a function that returns one of the things that it is given.
func (p *program) choose(steps uint64, f starlark.Callable, args ...starlark.Value) (starlark.Value, error) {
	var out starlark.Value
	// What it returns is no data: it is taken out before anybody looks at it.
	take := starlark.NewBuiltin(f.Name(), func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		v, err := starlark.Call(t, f, args, kwargs)
		out = v
		return starlark.None, err
	})
	_, err := p.callWithin(steps, take, args, nil)
	return out, err
}

// decide calls a function that returns True or False, or what counts as such.
func (p *program) decide(f starlark.Callable, args ...starlark.Value) (bool, error) {
	v, err := p.choose(choiceSteps, f, args...)
	if err != nil {
		return false, err
	}
	switch v.(type) {
	case starlark.Bool, starlark.NoneType, starlark.Int, starlark.String, *starlark.List, *starlark.Dict:
		return bool(v.Truth()), nil
	}
	return false, &expr.FunctionError{Message: fmt.Sprintf("%s must return True or False, not a value of type %s", f.Name(), v.Type())}
}
