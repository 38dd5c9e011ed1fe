package dormouse

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// conversion says how a value is written, as Python's operator % has it.
type conversion struct {
	verb byte // s and r are texts, d and i integers, f is a number
	// layout are the flags, the width and the precision.
	layout string
}

// conversionForm leaves out what Python knows besides and a text about "100% of
// it" would be taken for. Three digits are more than the width of a terminal.
var conversionForm = regexp.MustCompile(`^([-+0#]*[0-9]{0,3}(?:\.[0-9]{0,3})?)([srdif])`)

// cutConversion cuts what stands behind %(…) or %.
func cutConversion(s string) (c conversion, after string, ok bool) {
	m := conversionForm.FindStringSubmatch(s)
	if m == nil {
		return c, s, false
	}
	return conversion{m[2][0], m[1]}, s[len(m[0]):], true
}

// text writes v.
func (c conversion) text(v any) (string, error) {
	switch c.verb {
	case 'd', 'i':
		n, ok := wholeNumber(v)
		if !ok {
			return "", Errorf(Invalid, "%%%c needs a number", c.verb)
		}
		return fmt.Sprintf("%"+c.layout+"d", n), nil
	case 'f':
		x, ok := number(v)
		if !ok {
			return "", Errorf(Invalid, "%%f needs a number")
		}
		return fmt.Sprintf("%"+c.layout+"f", x), nil
	}
	text := PythonText(v)
	if s, isText := v.(string); isText && c.verb == 'r' {
		var b strings.Builder
		quotePython(&b, s)
		text = b.String()
	}
	if c.layout == "" {
		return text, nil
	}
	flags := len(c.layout) - len(strings.TrimLeft(c.layout, "-+0#"))
	left := ""
	if strings.Contains(c.layout[:flags], "-") {
		left = "-" // the other flags are for numbers
	}
	return fmt.Sprintf("%"+left+c.layout[flags:]+"s", text), nil
}

// number is v as a float, if it is a number; True is 1.
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
		return v, true
	case json.Number:
		x, err := v.Float64()
		return x, err == nil
	}
	return 0, false
}

// wholeNumber is v without its fraction.
func wholeNumber(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return i, true
		}
	}
	const highest = 1 << 63
	x, ok := number(v)
	return int64(x), ok && x > -highest && x < highest
}
