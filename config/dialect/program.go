package dialect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Program is a text that was understood. It is not changed any more, so that any
// goroutine may ask it.
type Program struct {
	file       string
	vocabulary *Vocabulary
	tokens     []token
	tree       *tree
}

// Parse reads a text; filename is for positions. The error is [Errors]: of mistakes
// in the form of a text the first ends the reading.
func Parse(filename string, src []byte, v *Vocabulary) (*Program, error) {
	p := &Program{file: filename, vocabulary: v}
	w, m := rewrite(src, v)
	if m != nil {
		return nil, Errors{NewError(filename, m.at, m.hint, m.message)}
	}
	p.tokens = w.tokens
	var err error
	if p.tree, err = parseTree(filename, w); err != nil {
		return nil, p.failure(err)
	}
	return p, nil
}

// NewThread makes a thread that ends after so many steps, or when it prints too
// much. show gets what it prints, and may be nil.
func NewThread(name string, steps uint64, show func(string)) *starlark.Thread {
	t := &starlark.Thread{Name: name, Print: limitedPrint(show)}
	t.SetMaxExecutionSteps(steps)
	t.OnMaxSteps = func(t *starlark.Thread) {
		t.Cancel(fmt.Sprintf("it takes more than %d steps: is there an endless loop?", steps))
	}
	return t
}

// Execute carries the program out and returns its global variables, which are
// frozen: functions among them may be called by several goroutines. Besides what is
// predeclared a program can name what Starlark has. The error is [Errors].
func (p *Program) Execute(t *starlark.Thread, predeclared ...starlark.StringDict) (starlark.StringDict, error) {
	names := maps.Clone(builtins())
	for _, more := range predeclared {
		maps.Copy(names, more)
	}
	prog, err := starlark.FileProgram(p.tree.file, names.Has)
	if err != nil {
		return nil, p.failure(err)
	}
	globals, err := prog.Init(t, names)
	if tooLarge := limitFreeze(globals); tooLarge != nil {
		return nil, p.failure(cmp.Or(err, tooLarge))
	}
	globals.Freeze()
	if err != nil {
		return globals, p.failure(err)
	}
	return globals, nil
}

// watchAfter is after which time of a call its memory is watched.
const watchAfter = 50 * time.Millisecond

// Call calls a function of a program that was carried out, for as long as most.
// Its error is Starlark's.
func Call(t *starlark.Thread, most time.Duration, f starlark.Callable, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	// Most calls are over before their time and memory have to be watched.
	var watching func()
	var mu sync.Mutex
	over := false
	timer := time.AfterFunc(watchAfter, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			watching = Watch(context.Background(), most, t.Cancel)
		}
	})
	defer func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		if over = true; watching != nil {
			watching()
		}
	}()
	return starlark.Call(t, f, args, kwargs)
}

// Dictionary is where the vocabulary's dictionary first stands; the text's
// beginning if it does not.
func (p *Program) Dictionary() Place { return p.tree.dictionary }

// Assigned is where a key of the dictionary and its value were last assigned to,
// as "www" is by c['www'] = … or in c = {'www': …}. Slashes are between keys that
// lie in each other.
func (p *Program) Assigned(path string) (key, value Place, ok bool) {
	k, ok := p.tree.keys[path]
	return k.key, k.value, ok
}

// Mentions is how often a word stands in the text: as a name, or as the whole of a
// string.
func (p *Program) Mentions(word string) (n int) {
	for _, t := range p.tokens {
		if t.kind == tokName && t.text == word || t.kind == tokString && strings.Trim(t.text[max(strings.IndexAny(t.text, `"'`), 0):], `"'`) == word {
			n++
		}
	}
	return n
}

// Defined is where a function is defined; nowhere if it is not the text's.
func Defined(f starlark.Callable) Place {
	if fn, ok := f.(*starlark.Function); ok {
		return placeAt(fn.Position())
	}
	return Place{}
}

// Source is what a function says, wherever it stands: its tokens, the first of each
// line with how far it is indented (comments and blanks make no difference, blocks
// do), and the global variables that it names, as often as it does. It is not found
// when the function is not of this program.
func (p *Program) Source(f *starlark.Function) (text string, globals []string, found bool) {
	node := p.tree.functions[at(f.Position())]
	if node == nil {
		return "", nil, false
	}
	syntax.Walk(node, func(n syntax.Node) bool {
		if id, ok := n.(*syntax.Ident); ok && id != nil {
			if b, ok := id.Binding.(*resolve.Binding); ok && b.Scope == resolve.Global {
				globals = append(globals, id.Name)
			}
		}
		return true
	})
	start, end := node.Span()
	var out strings.Builder
	for _, t := range p.tokens {
		if t.line < int(start.Line) || t.line == int(start.Line) && t.col < int(start.Col) {
			continue
		}
		if t.line > int(end.Line) || t.line == int(end.Line) && t.col >= int(end.Col) {
			break
		}
		if t.firstOnLine {
			fmt.Fprintf(&out, "\n%d ", t.col-int(start.Col))
		}
		out.WriteString(t.text)
		out.WriteByte(' ')
	}
	return out.String(), globals, true
}

// Found is a call in the text, as a function of the vocabulary finds it that is
// being called.
type Found struct {
	// At is where the call begins.
	At Place
	// expr is nil when a function of Starlark's own made the call.
	expr *syntax.CallExpr
}

// Written reports whether the call itself stands in the text. Where it does not,
// as in sorted(key=f), the place is that of the call which led to it.
func (f Found) Written() bool { return f.expr != nil }

// Find finds the call that a thread is carrying out.
func (p *Program) Find(t *starlark.Thread) Found {
	for depth := 1; depth < t.CallStackDepth(); depth++ {
		pos := t.CallFrame(depth).Pos
		if pos.Filename() != p.file || pos.Line == 0 {
			continue
		}
		call, where := p.tree.calls[at(pos)], placeAt(pos)
		if call != nil && depth == 1 {
			where = placeOf(call.Fn)
		} else {
			call = nil
		}
		return Found{where.calledFrom(p.callers(t, depth+1)), call}
	}
	return Found{At: Place{Line: 1, Col: 1}}
}

// callers says from where the functions were called that lead from depth on to
// the top level.
func (p *Program) callers(t *starlark.Thread, depth int) string {
	const enough = 3 // functions: configurations do not build towers
	var lines []string
	for ; depth < t.CallStackDepth() && len(lines) < enough; depth++ {
		if pos := t.CallFrame(depth).Pos; pos.Filename() == p.file && pos.Line > 0 {
			lines = append(lines, fmt.Sprintf("called from line %d", pos.Line))
		}
	}
	return strings.Join(lines, ", ")
}

// Arguments are the places of the call's arguments: in order, and by name. What
// comes out of *args and **kwargs has none.
func (f Found) Arguments() (positional []Place, keyword map[string]Place) {
	if f.expr == nil {
		return nil, nil
	}
	keyword = make(map[string]Place, len(f.expr.Args))
	for _, arg := range f.expr.Args {
		if id, v, ok := keywordArg(arg); ok {
			at := placeOf(id).calledFrom(f.At.via)
			at.expr = v
			keyword[id.Name] = at
			continue
		}
		if star, ok := arg.(*syntax.UnaryExpr); ok && (star.Op == syntax.STAR || star.Op == syntax.STARSTAR) {
			continue
		}
		positional = append(positional, placeOf(arg).calledFrom(f.At.via))
	}
	return positional, keyword
}
