package command

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxGlobBytes bounds the names that one pattern finds: they are told in one
// frame.
const maxGlobBytes = 8 << 20

// globFiles gives the paths that match a pattern, as Python's glob does when it
// is recursive, but sorted, and each once. A name that is not valid UTF-8, which
// the protocol cannot carry, is shown as nearly as possible: such a file can be
// uploaded with its directory only.
func globFiles(ctx context.Context, pattern string) (string, any, error) {
	g := &globbing{ctx: ctx, pattern: pattern, seen: make(map[string]bool)}
	if err := g.run(); err != nil {
		return "", nil, err
	}
	files := make([]any, len(g.found))
	slices.Sort(g.found)
	for i, path := range g.found {
		files[i] = valid(path)
	}
	return "files", files, nil
}

// globbing is the work on one pattern.
type globbing struct {
	ctx     context.Context
	pattern string
	found   []string
	seen    map[string]bool
	size    int
}

func (g *globbing) run() error {
	dir, rest := "", strings.TrimLeft(g.pattern, "/")
	if rest != g.pattern {
		dir = "/"
	}
	var parts []string
	for i, part := range strings.Split(rest, "/") {
		last := i == strings.Count(rest, "/")
		// Slashes in a row are one, and ** after ** finds nothing new.
		if !last && (part == "" || part == "**" && len(parts) > 0 && parts[len(parts)-1] == "**") {
			continue
		}
		parts = append(parts, part)
	}
	return g.match(dir, parts)
}

// match finds what matches the rest of the pattern in a directory, whose name is
// "" or ends with a slash.
func (g *globbing) match(dir string, parts []string) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	part, rest := parts[0], parts[1:]
	last := len(rest) == 0
	switch {
	case part == "": // the pattern ends with a slash
		if directoryAt(dir) != nil {
			return g.add(dir)
		}
		return nil
	case part == "**":
		return g.below(dir, rest, nil)
	case !strings.ContainsAny(part, "*?["):
		if !last {
			return g.match(dir+part+"/", rest)
		}
		if _, err := os.Lstat(dir + part); err == nil {
			return g.add(dir + part)
		}
		return nil
	}
	tokens := parseGlob(part)
	for _, e := range entries(dir) {
		name := e.Name()
		if name[0] == '.' && part[0] != '.' || !matchGlob(tokens, name) {
			continue
		}
		var err error
		switch {
		case last:
			err = g.add(dir + name)
		case leadsToDirectory(dir, e):
			err = g.match(dir+name+"/", rest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// below finds what matches the rest of the pattern in a directory and in all
// below it. It follows links, but not to where it comes from: else it would go
// in circles. above are the directories that it came through.
func (g *globbing) below(dir string, rest []string, above []os.FileInfo) error {
	fi := directoryAt(dir)
	if fi == nil || slices.ContainsFunc(above, func(a os.FileInfo) bool { return os.SameFile(a, fi) }) {
		return nil
	}
	var err error
	if len(rest) > 0 {
		err = g.match(dir, rest)
	} else {
		err = g.add(dir)
	}
	if err != nil {
		return err
	}
	above = append(slices.Clip(above), fi)
	for _, e := range entries(dir) {
		name := e.Name()
		if name[0] == '.' {
			continue
		}
		if len(rest) == 0 {
			if err := g.add(dir + name); err != nil {
				return err
			}
		}
		if leadsToDirectory(dir, e) {
			if err := g.descend(dir+name+"/", rest, above); err != nil {
				return err
			}
		}
	}
	return g.ctx.Err()
}

// descend is below for a directory that is in the result already, under its
// name without a slash.
func (g *globbing) descend(dir string, rest []string, above []os.FileInfo) error {
	if len(rest) == 0 {
		g.seen[dir] = true
	}
	return g.below(dir, rest, above)
}

func (g *globbing) add(path string) error {
	if path == "" || g.seen[path] {
		return nil
	}
	g.seen[path] = true
	g.found = append(g.found, path)
	if g.size += len(path) + pairCost; g.size > maxGlobBytes {
		return fmt.Errorf("more than %d paths match, which is too much to tell: use a narrower pattern", len(g.found))
	}
	return nil
}

func orHere(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// entries are what is in a directory; of one that cannot be read, nothing.
func entries(dir string) []fs.DirEntry {
	f, err := os.Open(orHere(dir))
	if err != nil {
		return nil
	}
	defer f.Close()
	list, _ := f.ReadDir(-1)
	return list
}

// directoryAt is the directory that a path leads to, nil if it leads to none.
func directoryAt(path string) os.FileInfo {
	fi, err := os.Stat(orHere(path))
	if err != nil || !fi.IsDir() {
		return nil
	}
	return fi
}

func leadsToDirectory(dir string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink != 0 {
		return directoryAt(dir+e.Name()) != nil
	}
	return e.IsDir()
}

// globToken matches one character, or, if it is a star, any number.
type globToken struct {
	star, any, negated bool
	ranges             [][2]rune
}

// parseGlob reads one part of a pattern. There is no escaping, but that of a
// character by brackets around it.
func parseGlob(part string) []globToken {
	text := []rune(part)
	var tokens []globToken
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '*':
			if len(tokens) == 0 || !tokens[len(tokens)-1].star {
				tokens = append(tokens, globToken{star: true})
			}
		case '?':
			tokens = append(tokens, globToken{any: true})
		case '[':
			if token, n := parseClass(text[i+1:]); n > 0 {
				tokens = append(tokens, token)
				i += n
				break
			}
			fallthrough // a bracket that is never closed is one
		default:
			tokens = append(tokens, globToken{ranges: [][2]rune{{text[i], text[i]}}})
		}
	}
	return tokens
}

// parseClass reads what follows an opening bracket: n characters, the closing
// one included, or 0 if there is none.
func parseClass(text []rune) (token globToken, n int) {
	i := 0
	if i < len(text) && text[i] == '!' {
		token.negated = true
		i++
	}
	end := i + 1 // a bracket in the first place is a member
	for end < len(text) && text[end] != ']' {
		end++
	}
	if end >= len(text) {
		return globToken{}, 0
	}
	for i < end {
		if i+2 < end && text[i+1] == '-' {
			if text[i] <= text[i+2] { // a range the wrong way round is empty
				token.ranges = append(token.ranges, [2]rune{text[i], text[i+2]})
			}
			i += 3
			continue
		}
		token.ranges = append(token.ranges, [2]rune{text[i], text[i]})
		i++
	}
	return token, end + 1
}

func (t *globToken) matches(r rune) bool {
	if t.any {
		return true
	}
	in := slices.ContainsFunc(t.ranges, func(b [2]rune) bool { return b[0] <= r && r <= b[1] })
	return in != t.negated
}

// matchGlob matches a whole name. It goes back to the last star alone, which is
// enough, and quick for any pattern.
func matchGlob(tokens []globToken, name string) bool {
	at, star, resume := 0, -1, 0
	for i := 0; ; {
		if at < len(tokens) && tokens[at].star {
			star, resume = at, i
			at++
			continue
		}
		if i == len(name) {
			return at == len(tokens)
		}
		r, n := utf8.DecodeRuneInString(name[i:])
		if at < len(tokens) && tokens[at].matches(r) {
			at++
			i += n
			continue
		}
		if star < 0 {
			return false
		}
		_, n = utf8.DecodeRuneInString(name[resume:])
		resume += n
		at, i = star+1, resume
	}
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
