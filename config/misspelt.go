package config

import (
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

// everyBuildHas are the properties that a build has without anybody's doing, or
// by that of its source step or its scheduler.
var everyBuildHas = strings.Fields(`artifactsdir basedir branch builddir builderid buildername buildnumber codebase got_revision
	instance owner owners project reason repository revision scheduler workername`)

// misspelt warns of the name of a property that nothing sets, and that is nearly
// one that something sets: it would be rendered as nothing. A build can be given
// any property when it is forced or triggered. So what has another value in its
// place, what stands elsewhere in the configuration, and what may be a word of its
// own, as revisions beside revision, is not warned of.
func (g *global) misspelt(m *Master) {
	set := append(setProperties(m), everyBuildHas...)
	slices.Sort(set)
	set = slices.Compact(set)
	type use struct {
		o  *object
		at dialect.Place
	}
	uses := make(map[string][]use)
	for _, o := range g.r.objects {
		a := arguments{g.r, o}
		switch v := g.r.value(o).(type) {
		case *expr.Interpolate:
			for _, name := range v.Bare("prop") {
				uses[name] = append(uses[name], use{o, a.at("fmtstring")})
			}
		case expr.PropertyRef:
			if v.Default == nil {
				uses[v.Name] = append(uses[v.Name], use{o, a.at("key")})
			}
		}
	}
	const most = 1 << 20 // comparisons; more are no configuration that a person has misspelt something in
	if len(uses)*len(set) > most {
		return
	}
	for _, name := range sortedKeys(uses) {
		near := nearly(name, set)
		if near == "" || slices.Contains(set, name) {
			continue
		}
		places := make(map[dialect.Place]bool)
		literals := 0 // that are the name of a util.Property
		for _, u := range uses[name] {
			if u.o.class == propertyClass && !places[u.at] {
				literals++
			}
			places[u.at] = true
		}
		if g.r.program.Mentions(name) > literals {
			continue
		}
		for _, u := range uses[name] {
			if places[u.at] {
				g.r.warnf(u.at, "did you mean "+near+"?", "%s: nothing here sets the property %s: it is nothing in a build that is not given it", u.o.class.name, quote(name))
				places[u.at] = false
			}
		}
	}
}

// setProperties are the names of the properties that the configuration sets.
func setProperties(m *Master) (names []string) {
	add := func(sets ...map[string]any) {
		for _, values := range sets {
			names = append(names, sortedKeys(values)...)
		}
	}
	add(m.Properties)
	for _, w := range m.Workers {
		add(w.Properties, w.DefaultProperties)
	}
	for _, b := range m.Builders {
		add(b.Properties, b.DefaultProperties)
		for _, s := range b.Steps {
			switch a := s.Action.(type) {
			case dormouse.SetProperty:
				add(a.Values)
			case dormouse.SetPropertyFromCommand:
				names = append(names, a.Property)
			}
		}
	}
	return names
}

// nearly is the word that a name is most likely a slip of, and "" where it may be
// meant: one letter is wrong, lacking, too many or has changed places, in what is
// long enough, but not a plural or a number at its end.
func nearly(name string, words []string) string {
	const telling = 5 // letters: shorter words are near to too many
	for _, w := range words {
		short, long := name, w
		if len(short) > len(long) {
			short, long = long, short
		}
		if len(w) < telling || len(long)-len(short) > 1 || dialect.Distance(name, w) != 1 || strings.HasPrefix(long, short) && strings.ContainsAny(long[len(short):], "s0123456789_") {
			continue
		}
		if n := len(name) - 1; len(name) == len(w) && name[:n] == w[:n] && '0' <= name[n] && name[n] <= '9' {
			continue // two of a row: stage1, stage2
		}
		return w
	}
	return ""
}
