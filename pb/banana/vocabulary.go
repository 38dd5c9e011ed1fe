package banana

// Dialect says whether words have numbers.
type Dialect bool

// The dialects. A connection begins with None, and goes on with PB.
const (
	None Dialect = false
	PB   Dialect = true
)

// vocabulary are the byte strings that dialect pb sends as their number, which
// counts from 1.
var vocabulary = [...]string{
	"",
	"None", "class", "dereference", "reference", "dictionary", "function",
	"instance", "list", "module", "persistent", "tuple", "unpersistable",
	"copy", "cache", "cached", "remote", "local", "lcache", "version", "login",
	"password", "challenge", "logged_in", "not_logged_in", "cachemessage",
	"message", "answer", "error", "decref", "decache", "uncache",
}

var (
	// numbers has the number of each word.
	numbers = make(map[string]int64, len(vocabulary))
	// words are the words as items. One is shared by all that are decoded: it
	// costs nothing, and has no room to append to.
	words [len(vocabulary)]any
)

func init() {
	for n, w := range vocabulary[1:] {
		numbers[w] = int64(n) + 1
		b := []byte(w)
		words[n+1] = b[:len(b):len(b)]
	}
}
