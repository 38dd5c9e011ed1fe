package dialect

import (
	"maps"
	"slices"
)

// binding is a name that an import binds, and the predeclared name of what it
// is bound to.
type binding struct {
	name   string
	target string
	at     Place
}

// parseImport reads an import statement.
func (v *Vocabulary) parseImport(s []token) ([]binding, *mistake) {
	p := &importParser{vocabulary: v, tokens: s, next: 1}
	if s[0].text == "import" {
		return p.modules()
	}
	return p.names()
}

type importParser struct {
	vocabulary *Vocabulary
	tokens     []token
	next       int
}

func (p *importParser) peek() token {
	if p.next < len(p.tokens) {
		return p.tokens[p.next]
	}
	last := p.tokens[len(p.tokens)-1]
	return token{kind: tokEOF, line: last.endLine, col: last.endCol}
}

func (p *importParser) take() token {
	t := p.peek()
	p.next++
	return t
}

func (p *importParser) name() (token, *mistake) {
	t := p.take()
	if t.kind != tokName || t.keyword() {
		return t, mistakef(t.at(), "", "a name should stand here")
	}
	return t, nil
}

// dotted reads a module's name. The token is its first.
func (p *importParser) dotted() (string, token, *mistake) {
	if t := p.peek(); t.is(".") || t.is("...") {
		return "", t, mistakef(t.at(), "put everything into one file", "a configuration cannot import another file")
	}
	first, m := p.name()
	if m != nil {
		return "", first, m
	}
	path := first.text
	for p.peek().is(".") {
		p.next++
		t, m := p.name()
		if m != nil {
			return "", first, m
		}
		path += "." + t.text
	}
	return path, first, nil
}

// as reads what a name is imported as: itself by default.
func (p *importParser) as(t token) (token, *mistake) {
	if !p.peek().word("as") {
		return t, nil
	}
	p.next++
	return p.name()
}

// modules reads "import a, b.c as d".
func (p *importParser) modules() ([]binding, *mistake) {
	var out []binding
	for {
		path, first, m := p.dotted()
		if m != nil {
			return nil, m
		}
		target, ok := p.vocabulary.Whole[path]
		if !ok {
			return nil, p.unknownModule(first, path)
		}
		as, m := p.as(first)
		if m != nil {
			return nil, m
		}
		if as == first { // import a.b binds a
			target = p.vocabulary.Whole[first.text]
		}
		out = append(out, binding{as.text, target, as.at()})
		if !p.peek().is(",") {
			return out, p.end()
		}
		p.next++
	}
}

// names reads "from a.b import c, d as e", with or without parentheses.
func (p *importParser) names() ([]binding, *mistake) {
	path, first, m := p.dotted()
	if m != nil {
		return nil, m
	}
	if t := p.take(); !t.word("import") {
		return nil, mistakef(t.at(), "", "import should stand here")
	}
	if path == "__future__" {
		return nil, nil // asks an old Python to be like a new one
	}
	known, ok := p.vocabulary.Modules[path]
	if !ok {
		return nil, p.unknownModule(first, path)
	}
	if star := p.peek(); star.is("*") {
		p.next++
		var out []binding
		for _, name := range slices.Sorted(maps.Keys(known)) {
			out = append(out, binding{name, known[name], star.at()})
		}
		return out, p.end()
	}
	parens := p.peek().is("(")
	if parens {
		p.next++
	}
	var out []binding
	for {
		t, m := p.name()
		if m != nil {
			return nil, m
		}
		target, ok := known[t.text]
		if !ok {
			return nil, mistakef(t.at(), DidYouMean(t.text, slices.Sorted(maps.Keys(known))),
				"%s has no %s here", path, t.text)
		}
		as, m := p.as(t)
		if m != nil {
			return nil, m
		}
		out = append(out, binding{as.text, target, as.at()})
		if !p.peek().is(",") {
			break
		}
		p.next++
		if parens && p.peek().is(")") {
			break
		}
	}
	if parens {
		if t := p.take(); !t.is(")") {
			return nil, mistakef(t.at(), "", "a comma or a closing parenthesis should stand here")
		}
	}
	return out, p.end()
}

func (p *importParser) end() *mistake {
	if p.next < len(p.tokens) {
		return mistakef(p.peek().at(), "", "the import should end here")
	}
	return nil
}

func (p *importParser) unknownModule(first token, path string) *mistake {
	return mistakef(first.at(), p.vocabulary.NoModule(path), "there is no module %s here", path)
}
