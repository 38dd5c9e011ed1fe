package dialect

import "go.starlark.net/syntax"

// Place is where something stands in the text. With the expression that stands
// there, the places of its parts can be found.
type Place struct {
	Line, Col int // from 1, columns in characters; 0 where it is of the whole text
	expr      syntax.Expr
	// via says from where the function was called that this stands in.
	via string
}

func placeOf(e syntax.Expr) Place {
	p := placeAt(syntax.Start(e))
	p.expr = e
	return p
}

func placeAt(p syntax.Position) Place { return Place{Line: int(p.Line), Col: int(p.Col)} }

// calledFrom is the place with the calls that led to it.
func (p Place) calledFrom(via string) Place {
	p.via = via
	return p
}

// part is the place of an expression within p's.
func (p Place) part(e syntax.Expr) Place { return placeOf(e).calledFrom(p.via) }

// value is the place's expression without parentheses.
func (p Place) value() syntax.Expr {
	e := p.expr
	for {
		paren, ok := e.(*syntax.ParenExpr)
		if !ok {
			return e
		}
		e = paren.X
	}
}

// Item is the place of element i of a list or tuple with n elements: its own
// if they are written here, else the whole list's.
func (p Place) Item(i, n int) Place {
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

// Entry is the places of a key of a dictionary and of its value: their own if
// they are written here, else the whole dictionary's.
func (p Place) Entry(name string) (key, value Place) {
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
