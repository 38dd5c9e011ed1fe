package pb

import (
	"bytes"
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/pb/banana"
)

// items reads an item that is written in JSON: text stands for a byte string.
func items(t testing.TB, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return itemOf(v)
}

func itemOf(v any) any {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case json.Number:
		n, _ := v.Int64()
		return n
	case []any:
		list := []any{}
		for _, i := range v {
			list = append(list, itemOf(i))
		}
		return list
	}
	panic(v)
}

// TestUnjelly: what is taken, and what is not.
func TestUnjelly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		item string
		want any // nil with an error
		err  string
	}{
		{`["None"]`, nil, ""},
		{`"x"`, []byte("x"), ""},
		{`["dictionary", ["a", 1], ["a", 2]]`, Dict{{[]byte("a"), int64(1)}, {[]byte("a"), int64(2)}}, ""},
		{`["list", ["reference", 1, ["tuple", 1]], ["dereference", 1]]`, []any{Tuple{int64(1)}, Tuple{int64(1)}}, ""},
		{`["foo", 1]`, nil, "foo"},
		{`["os.system", "x"]`, nil, "os.system"},
		{`["twisted.spread.pb.CopyableFailure", ["list"]]`, nil, "failure"},
		{`["set"]`, nil, "set"},
		{`["boolean", "maybe"]`, nil, "neither true nor false"},
		{`["boolean", 1]`, nil, "neither true nor false"},
		{`["boolean"]`, nil, "boolean"},
		{`["None", 1]`, nil, "None"},
		{`["unicode", 1]`, nil, "UTF-8"},
		{`[]`, nil, "empty"},
		{`[1, 2]`, nil, "begins with"},
		{`["dictionary", ["a"]]`, nil, "pair"},
		{`["dictionary", "ab"]`, nil, "pair"},
		{`["remote", 0]`, nil, "object"},
		{`["remote", "x"]`, nil, "object"},
		{`["local", -1]`, nil, "object"},
		{`["reference", 1]`, nil, "reference"},
		{`["reference", "x", 1]`, nil, "number of its own"},
		{`["list", ["reference", 1, 2], ["reference", 1, 3]]`, nil, "number of its own"},
		// Twisted takes this one, but never sends it.
		{`["list", ["dereference", 1], ["reference", 1, ["list"]]]`, nil, "did not come"},
		{`["reference", 1, ["list", ["dereference", 1]]]`, nil, "did not come"},
		{`["dereference"]`, nil, "dereference"},
	} {
		v, err := unjellied(items(t, c.item))
		if err != nil {
			v = nil
		}
		if !reflect.DeepEqual(v, c.want) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %#v, %v", c.item, v, err)
		}
	}
	if v, err := unjellied([]any{[]byte("unicode"), []byte{0xff}}); err == nil {
		t.Errorf("text that is not UTF-8: %v", v)
	}
}

// TestUnfolded: a short message cannot stand for more values, or for a deeper
// nesting, than one that spells them out.
func TestUnfolded(t *testing.T) {
	t.Parallel()
	word := func(s string) []byte { return []byte(s) }
	nested := func(levels, width, text int) any {
		list := []any{word("list"), []any{word("reference"), int64(0), []any{word("list"), bytes.Repeat(word("x"), text)}}}
		for n := range int64(levels) {
			again := []any{word("list")}
			for range width {
				again = append(again, []any{word("dereference"), n})
			}
			list = append(list, []any{word("reference"), n + 1, again})
		}
		return list
	}
	for _, c := range []struct {
		about               string
		levels, width, text int
		want                string
	}{
		{"few", 3, 10, 1, ""},
		{"many", 14, 2, 1, ""},
		{"too many", 14, 3, 1, "too many"},
		{"far too many", 10, 10_000, 1, "too many"},
		{"long", 1, 10, 500_000, ""},
		{"too long", 1, 100, 500_000, "too long"},
		{"too long at its end", 1, 1, 15_000_000, "too long"},
		{"deep", 12, 1, 1, ""},
		{"too deep", 60, 1, 1, "deep"},
	} {
		_, err := unjellied(nested(c.levels, c.width, c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.about, err)
		}
	}
}

// TestForms: each form of a value that is sent, and those that cannot be.
func TestForms(t *testing.T) {
	t.Parallel()
	cyclic := []any{nil}
	cyclic[0] = cyclic
	for _, c := range []struct {
		v    any
		want any
	}{
		{map[string]string{"b": "2", "a": "1"}, Dict{{"a", "1"}, {"b", "2"}}},
		{map[string]any{"b": 2, "a": []string{"x"}}, Dict{{"a", []any{"x"}}, {"b", int64(2)}}},
		{"\xff", "\uFFFD"},
		{new(big.Int).Lsh(big.NewInt(1), 70), new(big.Int).Lsh(big.NewInt(1), 70)},
		{1.5, 1.5},
		{&Failure{Type: "x.Y", Value: "é", Parents: []string{"x.Y", "z"}, Traceback: "t"}, &Failure{Type: "x.Y", Value: "é", Parents: []string{"x.Y", "z"}, Traceback: "t"}},
		{strings.Repeat("x", banana.MaxLength), strings.Repeat("x", banana.MaxLength)},
		{strings.Repeat("x", banana.MaxLength+1), nil},
		{make([]byte, banana.MaxLength+1), nil},
		{make([]any, banana.MaxLength), nil},
		{uint8(1), nil},
		{struct{}{}, nil},
		{cyclic, nil},
	} {
		j := jelly{Encoder: banana.NewEncoder(nil, banana.PB)}
		j.value(c.v, 0)
		b, err := j.Bytes()
		if c.want == nil {
			if err == nil {
				t.Errorf("%T is sent", c.v)
			}
			continue
		}
		if err != nil {
			t.Errorf("%T: %v", c.v, err)
			continue
		}
		item, _ := decodeOne(t, b)
		if got, err := unjellied(item); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v is %v, %v", c.v, got, err)
		}
	}
}

// TestLoose: workers on Python 2 send byte strings, and some 0 and 1.
func TestLoose(t *testing.T) {
	t.Parallel()
	d := Dict{{"a", 1}, {[]byte("b"), 2}, {"a", 3}, {int64(7), 4}}
	for key, want := range map[string]any{"a": 3, "b": 2, "c": nil, "7": nil} {
		if got, found := d.Get(key); got != want || found != (want != nil) {
			t.Errorf("%s: %v, %v", key, got, found)
		}
	}
	for _, c := range []struct {
		v    any
		text string
		ok   bool
	}{{"x", "x", true}, {[]byte("x\xff"), "x\uFFFD", true}, {int64(1), "", false}, {nil, "", false}} {
		if text, ok := Text(c.v); text != c.text || ok != c.ok {
			t.Errorf("text of %v: %q, %v", c.v, text, ok)
		}
	}
	for _, c := range []struct{ v, want any }{{true, true}, {false, false}, {int64(1), true}, {int64(0), false}, {"x", nil}} {
		if truth, ok := Truth(c.v); ok != (c.want != nil) || ok && truth != c.want {
			t.Errorf("truth of %v: %v, %v", c.v, truth, ok)
		}
	}
	for _, v := range []any{[]any{1}, Tuple{1}} {
		if list, ok := Items(v); !ok || len(list) != 1 {
			t.Errorf("items of %v: %v", v, list)
		}
	}
}

// TestLongFailure: a failure is kept as long as a person may want to read it.
func TestLongFailure(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", maxFailureText)
	var parents []any
	for range 1000 {
		parents = append(parents, long)
	}
	f := failureOf(Dict{{"type", []byte(long)}, {"value", long}, {"traceback", long}, {"parents", parents}})
	for _, s := range append(f.Parents, f.Type, f.Value, f.Traceback) {
		if len(s) > maxFailureText || !strings.HasPrefix(long, s) {
			t.Errorf("%d bytes", len(s))
		}
	}
	for f, want := range map[*Failure]string{{Type: "a"}: "a", {Value: "b"}: "b", {Type: "a", Value: "b"}: "a: b"} {
		if f.Error() != want {
			t.Errorf("%q, want %q", f, want)
		}
	}
	if len(f.Parents) != maxParents {
		t.Errorf("%d parents", len(f.Parents))
	}
}

// FuzzJelly: no item makes a value that is not bounded, and a value that is sent
// comes back as it was.
func FuzzJelly(f *testing.F) {
	for _, r := range recordings(f) {
		for _, rec := range r.messages {
			if m, err := parse(rec.item); err == nil {
				for _, item := range []any{m.args, m.value} {
					if item != nil {
						f.Add(encodeItem(f, item))
					}
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := banana.NewDecoder(bytes.NewReader(b), banana.Limits{Depth: 12, Items: 1000, Bytes: 10_000})
		d.Speak(banana.PB)
		item, err := d.Next()
		if err != nil {
			return
		}
		u := &unjelly{refs: mentioned{}, left: banana.Limits{Items: 1000, Bytes: 10_000}.Cost()}
		v, _, err := u.value(item, 0)
		if err != nil {
			return
		}
		if mentions(item, "reference", copyableFailure) {
			jellied(t, v) // it ends
			return
		}
		if got, want := jellied(t, turned(v)), encodeItem(t, item); !bytes.Equal(got, want) {
			t.Fatalf("%v is encoded otherwise:\n%x\n%x", v, got, want)
		}
	})
}
