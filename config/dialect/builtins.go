package dialect

import (
	"sync"

	"go.starlark.net/starlark"
)

// builtins are what the rewritten text calls, and Starlark's own functions with the
// limits that they need. They hold no state, so all readings share them.
var builtins = sync.OnceValue(func() starlark.StringDict {
	names := starlark.StringDict{
		guardName:     starlark.NewBuiltin("*", newFactor),
		memberName:    starlark.NewBuiltin("in", newMember),
		conditionName: starlark.NewBuiltin("if", newCondition),
		keyName:       starlark.NewBuiltin("[]", newKey),
		elementName:   starlark.NewBuiltin("%=", newElement),
		comparedName:  starlark.NewBuiltin("is", newLimited),
		"range":       starlark.NewBuiltin("range", limitedRange),
		"int":         starlark.NewBuiltin("int", limitedInt),
		"zip":         starlark.NewBuiltin("zip", limitedZip),
		"getattr":     starlark.NewBuiltin("getattr", limitedGetattr),
	}
	for _, name := range wholeReaders {
		names[name] = newWholeReader(name)
	}
	for op, name := range comparedNames {
		names[name] = newCompared(op)
	}
	for _, name := range truths {
		names[name] = newTruth(name)
	}
	return names
})
