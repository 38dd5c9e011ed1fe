package dialect

import (
	"slices"

	"go.starlark.net/syntax"
)

// fileOptions allow at the top level what Python allows there.
var fileOptions = &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}

// tree is a text's syntax, and where the things stand in it that are asked for
// later.
type tree struct {
	file *syntax.File
	// calls are all calls by the place of their opening parenthesis, which is
	// the position that a running program knows of itself.
	calls map[position]*syntax.CallExpr
	// keys are the last assignments to parts of the vocabulary's dictionary: "www"
	// for c['www'] = …, "www/port" for c['www']['port'] = ….
	keys map[string]keyPlace
	// functions are all functions by where they begin.
	functions map[position]syntax.Node
	// dictionary is where the dictionary's full name first stands.
	dictionary Place
	names      []string // of the dictionary
}

// keyPlace is where a key of the configuration and its value stand.
type keyPlace struct{ key, value Place }

// parseTree parses what rewrite made, and puts assignments where it left
// placeholders.
func parseTree(filename string, w *rewritten) (*tree, error) {
	file, err := fileOptions.Parse(filename, w.text, 0)
	if err != nil {
		return nil, err
	}
	t := &tree{
		file:  file,
		calls: make(map[position]*syntax.CallExpr),
		keys:  make(map[string]keyPlace),

		functions:  make(map[position]syntax.Node),
		dictionary: Place{Line: 1, Col: 1},
		names:      w.vocabulary.Dictionary,
	}
	t.index()
	syntax.Walk(file, func(n syntax.Node) bool {
		guard(n)
		guardKeys(n)
		compareLater(n, w.identities)
		return true
	})
	s := splicer{w: w}
	file.Stmts = s.statements(file.Stmts)
	return t, nil
}

func (t *tree) index() {
	seen := false
	syntax.Walk(t.file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CallExpr:
			t.calls[position{int(n.Lparen.Line), int(n.Lparen.Col)}] = n
		case *syntax.DefStmt:
			t.functions[at(n.Def)] = n
		case *syntax.LambdaExpr:
			t.functions[at(n.Lambda)] = n
		case *syntax.Ident:
			if !seen && len(t.names) > 0 && n.Name == t.names[0] {
				t.dictionary, seen = placeOf(n), true
			}
		case *syntax.AssignStmt:
			t.assignment(n)
		}
		return true
	})
}

func (t *tree) isDictionary(e syntax.Expr) bool {
	id, ok := e.(*syntax.Ident)
	return ok && slices.Contains(t.names, id.Name)
}

func (t *tree) assignment(n *syntax.AssignStmt) {
	if t.isDictionary(n.LHS) { // c = {'workers': …} or dict(workers=…)
		t.contents(placeOf(n.RHS))
		return
	}
	if path, key, ok := t.path(n.LHS); ok {
		t.keys[path] = keyPlace{placeOf(key), placeOf(n.RHS)}
	}
}

func (t *tree) contents(at Place) {
	switch e := at.value().(type) {
	case *syntax.DictExpr:
		for _, item := range e.List {
			entry, ok := item.(*syntax.DictEntry)
			if !ok {
				continue
			}
			if lit, ok := entry.Key.(*syntax.Literal); ok && lit.Token == syntax.STRING {
				t.keys[lit.Value.(string)] = keyPlace{placeOf(lit), placeOf(entry.Value)}
			}
		}
	case *syntax.CallExpr:
		for _, arg := range e.Args {
			if id, v, ok := keywordArg(arg); ok {
				t.keys[id.Name] = keyPlace{placeOf(id), placeOf(v)}
			}
		}
	}
}

// path reads c['a']['b'] as "a/b"; key is the last index.
func (t *tree) path(e syntax.Expr) (path string, key syntax.Expr, ok bool) {
	index, ok := e.(*syntax.IndexExpr)
	if !ok {
		return "", nil, false
	}
	lit, ok := index.Y.(*syntax.Literal)
	if !ok || lit.Token != syntax.STRING {
		return "", nil, false
	}
	name := lit.Value.(string)
	if t.isDictionary(index.X) {
		return name, lit, true
	}
	outer, _, ok := t.path(index.X)
	return outer + "/" + name, lit, ok
}

// splicer replaces placeholders in lists of statements.
type splicer struct{ w *rewritten }

func (s splicer) statements(in []syntax.Stmt) []syntax.Stmt {
	if len(in) == 0 {
		return nil // an empty block is none, as the parser has it
	}
	out := make([]syntax.Stmt, 0, len(in))
	var targets []syntax.Expr // of a chained assignment that is not complete
	var decorators []decorator
	for _, stmt := range in {
		switch stmt := stmt.(type) {
		case *syntax.BranchStmt:
			if bindings, ok := s.w.imports[at(stmt.TokenPos)]; ok {
				for _, b := range bindings {
					out = append(out, b.statement(stmt.TokenPos))
				}
				continue
			}
			if d, ok := s.w.decorators[at(stmt.TokenPos)]; ok {
				decorators = append(decorators, d)
				continue
			}
		case *syntax.ExprStmt:
			if s.w.chained[at(syntax.Start(stmt.X))] {
				targets = append(targets, stmt.X)
				continue
			}
		case *syntax.AssignStmt:
			guardAssign(stmt)
			if targets != nil {
				out = append(out, unchain(targets, stmt)...)
				targets = nil
				continue
			}
		case *syntax.DefStmt:
			stmt.Body = s.statements(stmt.Body)
			out = append(out, stmt)
			for _, d := range slices.Backward(decorators) {
				out = append(out, d.statement(stmt))
			}
			decorators = nil
			continue
		case *syntax.IfStmt:
			stmt.True, stmt.False = s.statements(stmt.True), s.statements(stmt.False)
		case *syntax.ForStmt:
			stmt.Body = s.statements(stmt.Body)
		}
		out = append(out, stmt)
	}
	if len(out) == 0 && len(in) > 0 {
		out = append(out, &syntax.BranchStmt{Token: syntax.PASS, TokenPos: syntax.Start(in[0])})
	}
	return out
}

// statement is "f = decorator(f)".
func (d decorator) statement(def *syntax.DefStmt) syntax.Stmt {
	pos := func(col int) syntax.Position {
		p := def.Def
		p.Line, p.Col = int32(d.at.Line), int32(col)
		return p
	}
	var call syntax.Expr = &syntax.Ident{NamePos: pos(d.at.Col), Name: d.words[0]}
	for _, word := range d.words[1:] {
		call = &syntax.DotExpr{X: call, Dot: pos(d.at.Col), NamePos: pos(d.at.Col), Name: &syntax.Ident{NamePos: pos(d.at.Col), Name: word}}
	}
	return &syntax.AssignStmt{
		OpPos: pos(d.at.Col), Op: syntax.EQ, LHS: &syntax.Ident{NamePos: pos(d.at.Col), Name: def.Name.Name},
		RHS: &syntax.CallExpr{
			Fn: call, Lparen: pos(d.at.Col), Args: []syntax.Expr{&syntax.Ident{NamePos: pos(d.at.Col), Name: def.Name.Name}}, Rparen: pos(d.at.Col),
		},
	}
}

func at(p syntax.Position) position { return position{int(p.Line), int(p.Col)} }

func (b binding) statement(pos syntax.Position) syntax.Stmt {
	pos.Line, pos.Col = int32(b.at.Line), int32(b.at.Col)
	return &syntax.AssignStmt{
		OpPos: pos, Op: syntax.EQ,
		LHS: &syntax.Ident{NamePos: pos, Name: b.name},
		RHS: &syntax.Ident{NamePos: pos, Name: b.target},
	}
}

// chainName holds the value while it is assigned to one target after the
// other; the blank in it keeps it apart from the configuration's own names.
const chainName = "chained value"

// unchain makes "a = b = value" of the targets and "b = value".
func unchain(targets []syntax.Expr, last *syntax.AssignStmt) []syntax.Stmt {
	assign := func(to, value syntax.Expr) syntax.Stmt {
		return &syntax.AssignStmt{OpPos: last.OpPos, Op: syntax.EQ, LHS: to, RHS: value}
	}
	temp := func() syntax.Expr { return &syntax.Ident{NamePos: last.OpPos, Name: chainName} }
	out := []syntax.Stmt{assign(temp(), last.RHS)}
	for _, t := range append(targets, last.LHS) {
		out = append(out, assign(t, temp()))
	}
	return out
}
