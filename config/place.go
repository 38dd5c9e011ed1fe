package config

import "go.starlark.net/syntax"

// place is where something stands in the configuration. With the expression
// that stands there, the places of its parts can be found.
type place struct {
	line, col int
	expr      syntax.Expr
	// via says from where the function was called that this stands in.
	via string
}

func placeOf(e syntax.Expr) place {
	p := syntax.Start(e)
	return place{line: int(p.Line), col: int(p.Col), expr: e}
}

// part is the place of an expression within p's.
func (p place) part(e syntax.Expr) place {
	q := placeOf(e)
	q.via = p.via
	return q
}

// value is the place's expression without parentheses.
func (p place) value() syntax.Expr {
	e := p.expr
	for {
		paren, ok := e.(*syntax.ParenExpr)
		if !ok {
			return e
		}
		e = paren.X
	}
}

// item is the place of element i of a list or tuple with n elements: its own
// if they are written here, else the whole list's.
func (p place) item(i, n int) place {
	var list []syntax.Expr
	switch e := p.value().(type) {
	case *syntax.ListExpr:
		list = e.List
	case *syntax.TupleExpr:
		list = e.List
	}
	if len(list) != n {
		return p
	}
	return p.part(list[i])
}

// entry is the places of a key of a dictionary and of its value: their own if
// they are written here, else the whole dictionary's.
func (p place) entry(name string) (key, value place) {
	switch e := p.value().(type) {
	case *syntax.DictExpr:
		for _, item := range e.List {
			if entry, ok := item.(*syntax.DictEntry); ok && isLiteral(entry.Key, name) {
				return p.part(entry.Key), p.part(entry.Value)
			}
		}
	case *syntax.CallExpr: // dict(name=value)
		if fn, ok := e.Fn.(*syntax.Ident); ok && fn.Name == "dict" {
			for _, arg := range e.Args {
				if id, v, ok := keywordArg(arg); ok && id.Name == name {
					return p.part(id), p.part(v)
				}
			}
		}
	}
	return p, p
}

func isLiteral(e syntax.Expr, text string) bool {
	lit, ok := e.(*syntax.Literal)
	return ok && lit.Token == syntax.STRING && lit.Value == text
}

// keywordArg takes name=value apart.
func keywordArg(arg syntax.Expr) (*syntax.Ident, syntax.Expr, bool) {
	b, ok := arg.(*syntax.BinaryExpr)
	if !ok || b.Op != syntax.EQ {
		return nil, nil, false
	}
	id, ok := b.X.(*syntax.Ident)
	return id, b.Y, ok
}
