package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// Plan stands for what a builder does: builders whose plans are the same run
// the same steps, so that a build which one began the other can go on with. Its
// position in the configuration does not count, nor does what is not set: a later
// release of this program, which can set more, has the same plan for it.
func Plan(b dormouse.Builder) string {
	h := sha256.New()
	describe(h, reflect.ValueOf(struct {
		Dir   string
		Env   map[string]any
		Steps []dormouse.StepSpec
	}{BuildDir(b), b.Env, b.Steps}))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// describe writes v so that what differs reads differently.
func describe(w io.Writer, v reflect.Value) {
	if !v.IsValid() {
		fmt.Fprint(w, "nil;")
		return
	}
	if in, ok := v.Interface().(*expr.Interpolate); ok && in != nil {
		fmt.Fprintf(w, "interpolate %q", in.String())
		describe(w, reflect.ValueOf(in.Arguments()))
		return
	}
	if same, ok := v.Interface().(expr.Identified); ok && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		fmt.Fprintf(w, "identity %q", same.Identity())
		if called, ok := same.(interface{ Arguments() []any }); ok {
			describe(w, reflect.ValueOf(called.Arguments()))
		}
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		describe(w, v.Elem())
	case reflect.Struct:
		fmt.Fprintf(w, "%s{", v.Type())
		for field, value := range v.Fields() {
			if field.IsExported() && field.Name != "Pos" && !value.IsZero() {
				fmt.Fprintf(w, "%s:", field.Name)
				describe(w, value)
			}
		}
		fmt.Fprint(w, "}")
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int {
			return strings.Compare(fmt.Sprint(a.Interface()), fmt.Sprint(b.Interface()))
		})
		fmt.Fprintf(w, "map %d{", len(keys))
		for _, k := range keys {
			describe(w, k)
			describe(w, v.MapIndex(k))
		}
		fmt.Fprint(w, "}")
	case reflect.Slice, reflect.Array:
		fmt.Fprintf(w, "list %d[", v.Len())
		for i := range v.Len() {
			describe(w, v.Index(i))
		}
		fmt.Fprint(w, "]")
	default:
		fmt.Fprintf(w, "%s %#v;", v.Type(), v.Interface())
	}
}
