// Package dialect is the language of configurations: Starlark, with the forms of
// Python that people write out of habit. It knows no name of its own: what a text
// may talk about is handed in.
//
// # From text to values
//
//	text ── lex ──▶ tokens ── rewrite ──▶ Starlark text ── parse, splice ──▶ syntax tree
//	    Parse: the first mistake ends it
//	syntax tree ── Execute ──▶ global variables, frozen
//	    an evaluation error ends it, too many steps, too long, too much memory
//	a function among them ── Call ──▶ a value
//	    at any time later, in any goroutine
//
// A form of Python is either understood, refused where it stands with what to write
// instead, or Starlark's own. What is understood is rewritten without moving a line
// or a column: in place (is becomes ==), or by a placeholder that keeps the room and
// is replaced in the syntax tree (an import, a chained assignment, a decorator). So
// every position of the tree is one of the text, and a new form needs a place in
// rewrite or in splice and nothing else.
//
// # What is handed in
//
//   - a [Vocabulary]: modules and what can be imported from them, decorators, the
//     dictionary that a text fills, and the words of its hints;
//   - predeclared values, to [Program.Execute]. A name with a dot in it can be reached
//     by an import alone;
//   - what is known only later: a value that is a [Later] has its comparisons made
//     then, and nothing may depend on it before;
//   - a [Holder] among the values, so that what it holds is counted and frozen.
//
// # What comes out
//
// Mistakes are [Errors], sorted, each with line, column, and what to do about it. A
// [Program] tells where things stand, while it runs and ever after: calls and their
// arguments ([Program.Find]), elements of lists and dictionaries ([Place]), keys of
// the vocabulary's dictionary ([Program.Assigned]), functions ([Program.Source]).
//
// # Limits
//
// Steps are counted by Starlark; [Watch] looks at time and memory. What neither can
// stop, since it is one step (a product, a sum, a text that is put together, values
// that hold themselves), asks first how large the result will be: the tree is
// rewritten so that such operators, methods and keys go through a function of this
// package, and Starlark's own functions have guards before them.
package dialect
