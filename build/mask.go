package build

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/dormouse-ci/dormouse"
)

// mask hides secrets in what a build shows. Output comes in lines, so a secret
// of several lines is hidden line by line.
type mask struct {
	mu       sync.RWMutex
	pairs    [][2]string // what to hide, and what to show; longest first
	replacer *strings.Replacer
}

func newMask() *mask { return &mask{} }

// add hides a secret from now on, except the parts of it that are too short.
func (m *mask) add(secret, shown string) {
	parts, _ := dormouse.SecretParts(secret)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range parts {
		if slices.ContainsFunc(m.pairs, func(p [2]string) bool { return p[0] == line }) {
			continue
		}
		m.pairs = append(m.pairs, [2]string{line, shown})
	}
	// A replacer prefers, at one place, the pair that was named first: the
	// longest must win, or the rest of a longer secret would be shown.
	slices.SortStableFunc(m.pairs, func(a, b [2]string) int { return cmp.Compare(len(b[0]), len(a[0])) })
	var flat []string
	for _, p := range m.pairs {
		flat = append(flat, p[0], p[1])
	}
	m.replacer = strings.NewReplacer(flat...)
}

// cut returns where a line that is too long, and goes on, may be cut: in front of
// what could be the beginning of a secret, in no secret, and between characters.
func (m *mask) cut(line string) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	keep := utf8.UTFMax - 1
	if len(m.pairs) > 0 {
		keep = max(keep, len(m.pairs[0][0])-1) // the longest
	}
	at := len(line) - keep
	if at <= 0 {
		return len(line)
	}
	for back := 1; back < utf8.UTFMax && at > 1 && !utf8.RuneStart(line[at]); back++ {
		at--
	}
	free := at
	for moved := true; moved; {
		moved = false
		for _, p := range m.pairs {
			size := len(p[0])
			from := max(0, at-size+1)
			if i := strings.Index(line[from:min(len(line), at+size-1)], p[0]); i >= 0 {
				at, moved = from+i, true
			}
		}
	}
	if at == 0 {
		return free // secrets that overlap, all along
	}
	return at
}

// apply returns text without the secrets.
func (m *mask) apply(text string) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.replacer == nil {
		return text
	}
	return m.replacer.Replace(text)
}

// addURL hides the password of a URL, or what stands for one, and returns the
// URL as it may be shown.
func (m *mask) addURL(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	authority, _, _ := strings.Cut(rest, "/")
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return raw
	}
	user, password, both := strings.Cut(authority[:at], ":")
	switch {
	case both && password != "":
		m.add(authority[:at+1], user+":xxxxx@")
	case strings.HasPrefix(scheme, "http") && user != "git":
		// Hosting sites take a token in place of the user.
		password = user
		m.add(authority[:at+1], "xxxxx@")
	default:
		return raw
	}
	m.add(password, "xxxxx")
	if plain, err := url.PathUnescape(password); err == nil {
		m.add(plain, "xxxxx")
	}
	return m.apply(raw)
}
