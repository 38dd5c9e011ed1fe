package expr

import (
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dormouse-ci/dormouse"
)

// conversion says how a value is written, as Python's operator % has it.
type conversion struct {
	verb  byte   // s and r are texts, d and i integers, f is a number
	flags string // of -, +, 0 and #, which means nothing here
	width int
	// precision is how many characters of a text, digits of an integer or decimals
	// there are; -1 is none given.
	precision int
}

// conversionForm leaves out what Python knows besides and a text about "100% of
// it" would be taken for. Three digits are more than the width of a terminal.
var conversionForm = regexp.MustCompile(`^([-+0#]*)([0-9]{0,3})(\.[0-9]{0,3})?([srdif])`)

// cutConversion cuts what stands behind %(…) or %. An s that was forgotten is not
// to be found in the next word: "right" is no r, and "-debug" no d.
func cutConversion(s string) (c conversion, after string, ok bool) {
	m := conversionForm.FindStringSubmatch(s)
	if m == nil {
		return c, s, false
	}
	c = conversion{verb: m[4][0], flags: m[1], precision: -1}
	c.width, _ = strconv.Atoi(m[2])
	if m[3] != "" {
		c.precision, _ = strconv.Atoi(m[3][1:])
	}
	after = s[len(m[0]):]
	next, _ := utf8.DecodeRuneInString(after)
	if unicode.IsLetter(next) && strings.IndexByte("rif", c.verb) >= 0 || c.has('-') && c.width == 0 {
		return c, s, false
	}
	return c, after, true
}

func (c conversion) has(flag byte) bool { return strings.IndexByte(c.flags, flag) >= 0 }

// alters reports whether a text is not itself in what is written.
func (c conversion) alters() bool { return c.verb == 'r' || c.verb == 's' && c.precision >= 0 }

// text writes v.
func (c conversion) text(v any) (string, error) {
	switch c.verb {
	case 'd', 'i':
		n := wholeNumber(v)
		if n == nil {
			return "", dormouse.Errorf(dormouse.Invalid, "%%%c needs a number", c.verb)
		}
		digits := new(big.Int).Abs(n).String()
		digits = strings.Repeat("0", max(0, c.precision-len(digits))) + digits
		return c.number(n.Sign() < 0, digits), nil
	case 'f':
		x, ok := number(v)
		if !ok {
			return "", dormouse.Errorf(dormouse.Invalid, "%%f needs a number")
		}
		decimals := 6
		if c.precision >= 0 {
			decimals = c.precision
		}
		return c.number(math.Signbit(x), strconv.FormatFloat(math.Abs(x), 'f', decimals, 64)), nil
	}
	text := PythonText(v)
	if s, isText := v.(string); isText && c.verb == 'r' {
		var b strings.Builder
		quotePython(&b, s)
		text = b.String()
	}
	if c.precision >= 0 {
		if r := []rune(text); len(r) > c.precision {
			text = string(r[:c.precision])
		}
	}
	return c.fill(text), nil
}

// number puts a sign before digits, and fills up.
func (c conversion) number(negative bool, digits string) string {
	sign := ""
	switch {
	case negative:
		sign = "-"
	case c.has('+'):
		sign = "+"
	}
	if c.has('0') && !c.has('-') {
		digits = strings.Repeat("0", max(0, c.width-len(sign)-len(digits))) + digits
	}
	return c.fill(sign + digits)
}

func (c conversion) fill(text string) string {
	blanks := strings.Repeat(" ", max(0, c.width-utf8.RuneCountInString(text)))
	if c.has('-') {
		return text + blanks
	}
	return blanks + text
}

// number is v as a float, if it is a number; as in Python, True is 1.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	case json.Number:
		x, err := v.Float64()
		return x, err == nil
	}
	return 0, false
}

// wholeNumber is v without its fraction; nil where it is no number.
func wholeNumber(v any) *big.Int {
	switch n := v.(type) {
	case int:
		return big.NewInt(int64(n))
	case int64:
		return big.NewInt(n)
	case json.Number:
		if i, ok := new(big.Int).SetString(n.String(), 10); ok {
			return i
		}
	}
	x, ok := number(v)
	if !ok {
		return nil
	}
	i, _ := big.NewFloat(x).Int(nil)
	return i
}

// compareNumbers compares exactly what is whole, and else floats.
func compareNumbers(a, b any) (order int, ok bool) {
	x, okX := number(a)
	y, okY := number(b)
	if !okX || !okY {
		return 0, false
	}
	if x == math.Trunc(x) && y == math.Trunc(y) {
		return wholeNumber(a).Cmp(wholeNumber(b)), true
	}
	switch {
	case x < y:
		return -1, true
	case x > y:
		return 1, true
	}
	return 0, true
}
