// Package expr has the values that are known only when a build runs: properties
// and secrets by name, texts made of them, comparisons, and what the
// configuration's own functions return.
//
//	config ──Renderable──▶ runner of a build, renderer of a launch
//	                          │ Scope: properties, sources, worker, secrets
//	                          ▼
//	                       Render ──▶ a plain value
//
// [Render] turns a [Renderable] and a [Scope] into a plain value: a text, a
// number, a bool, nil, a list or a map. Texts and truth are Python's
// ([PythonText], [Truthy]), since that is what the scripts of Buildbot's users
// expect. Nothing here has an effect, but for the lookup of a secret that the
// scope is given.
package expr
