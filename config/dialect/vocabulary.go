package dialect

// Vocabulary is what a text may talk about. The dialect knows no name by itself. Its
// functions must be there; all else may be empty.
type Vocabulary struct {
	// Dictionary are the names of the global dictionary that a text fills, its
	// full name first.
	Dictionary []string
	// Modules are what "from MODULE import NAME" knows: for each NAME the name
	// that is predeclared for it. One with a dot in it, or a blank, can be reached
	// by an import alone.
	Modules map[string]map[string]string
	// Whole are what "import MODULE" knows, and the name that is predeclared for it.
	// One with a dot in it needs the one before the dot, which import a.b binds.
	Whole map[string]string
	// Decorators are what may stand behind @, as it is written. The first is the
	// one that messages name.
	Decorators []string
	// NoModule says what to do about a module that is not among them.
	NoModule func(path string) (hint string)
	// Undefined says how a name comes to be defined; "" where it does not know.
	Undefined func(name string) (hint string)
	// Hints say, by word, what to write instead of a form of Python that is
	// refused, where there is more to say than the dialect does itself.
	Hints map[string]string
}

// hint is what to write instead of a word.
func (v *Vocabulary) hint(word, otherwise string) string {
	if h, ok := v.Hints[word]; ok {
		return h
	}
	return otherwise
}
