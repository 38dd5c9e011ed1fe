package dialect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// What evaluating a configuration may use. A configuration of a thousand
// workers takes some ten thousand steps and a few megabytes, so each limit is
// far above anything meant, and is met within seconds by a mistake.
const (
	MaxSteps    = 20_000_000 // about two seconds
	MaxTime     = 10 * time.Second
	maxHeap     = 256 << 20 // bytes that the heap may grow while it runs
	maxElements = 1 << 20   // of one list or range
	maxText     = 4 << 20   // bytes of one string made by multiplication
	maxIntBits  = 1 << 14   // of one integer made by multiplication
	maxPrinted  = 1 << 20   // bytes, by print: they go to the log
	// watchEvery is short enough that a string doubled in a loop is caught
	// before it fills a small machine.
	watchEvery = 10 * time.Millisecond
)

// NotWanted is why a watch cancels whose context has ended.
const NotWanted = "it is not wanted any more"

// Watch calls cancel when what it watches runs longer than most, the heap grows
// too large, or ctx ends. The function that it returns ends the watch and waits
// for it.
func Watch(ctx context.Context, most time.Duration, cancel func(why string)) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		start, before := time.Now(), heap()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				cancel(NotWanted)
				return
			case now := <-tick.C:
				if now.Sub(start) > most {
					cancel(fmt.Sprintf("it takes longer than %s", most))
				}
				if h := heap(); h > before+maxHeap {
					cancel(fmt.Sprintf("it uses more than %d MiB of memory", maxHeap>>20))
				}
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// limitedPrint makes Starlark's print of one that takes texts, and may be nil.
func limitedPrint(show func(string)) func(*starlark.Thread, string) {
	printed := 0
	return func(t *starlark.Thread, text string) {
		if printed += len(text) + 1; printed > maxPrinted {
			t.Cancel(fmt.Sprintf("it prints more than %d MiB", maxPrinted>>20))
			return
		}
		if show != nil {
			show(text)
		}
	}
}

// guardName is the predeclared function that guard calls.
const guardName = "guarded factor"

// guard wraps the left operands of multiplications in e, which can make something
// huge of something small in a single step, where neither the counting of steps
// nor the watch could stop it, and of additions, which can in thirty.
func guard(n syntax.Node) {
	switch n := n.(type) {
	case *syntax.BinaryExpr:
		if n.Op == syntax.STAR || n.Op == syntax.PLUS || n.Op == syntax.PERCENT {
			n.X = guarded(n.X, n.OpPos)
		}
	case *syntax.DotExpr: // called at once, or later
		if guardedMethods[n.Name.Name] {
			n.X = guarded(n.X, n.Dot)
		}
	}
}

// guardedMethods are the methods of strings whose result can be much longer, or
// that go through their arguments for each character, and those of lists,
// dictionaries and sets that grow, compare or look up.
var guardedMethods = wordSet("join replace format startswith endswith strip lstrip rstrip " +
	"extend index remove get pop setdefault update add discard " +
	"difference intersection issubset issuperset symmetric_difference union")

func guarded(e syntax.Expr, at syntax.Position) syntax.Expr { return wrapped(guardName, e, at) }

// wrapped is a call of a predeclared function.
func wrapped(name string, e syntax.Expr, at syntax.Position) syntax.Expr {
	return &syntax.CallExpr{
		Fn:     &syntax.Ident{NamePos: syntax.Start(e), Name: name},
		Lparen: at, Args: []syntax.Expr{e}, Rparen: at,
	}
}

func guardAssign(stmt *syntax.AssignStmt) {
	switch _, variable := stmt.LHS.(*syntax.Ident); {
	case stmt.Op == syntax.STAR_EQ:
		stmt.RHS = guarded(stmt.RHS, stmt.OpPos)
	case stmt.Op == syntax.PERCENT_EQ && variable: // a text looks at no operand but itself
		stmt.Op, stmt.RHS = syntax.EQ, &syntax.BinaryExpr{X: guarded(stmt.LHS, stmt.OpPos), OpPos: stmt.OpPos, Op: syntax.PERCENT, Y: stmt.RHS}
	case stmt.Op == syntax.PERCENT_EQ:
		stmt.RHS = wrapped(elementName, stmt.RHS, stmt.OpPos)
	case stmt.Op == syntax.PLUS_EQ && variable:
		// A list is added to in place, so that what stands there must stay what it
		// is: it is only looked at.
		call := guarded(stmt.RHS, stmt.OpPos).(*syntax.CallExpr)
		call.Args = append(call.Args, stmt.LHS)
		stmt.RHS = call
	}
}

// elementName is the predeclared function that wraps what is put into a text that
// is not a variable's.
const elementName = "limited values"

// newElement limits the values of x[i] %= values, where nobody sees the text: a
// dictionary's may be put in many times.
func newElement(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if _, ok := args[0].(*starlark.Dict); ok {
		return nil, errors.New("put the text into a variable first: only there %= takes a dictionary")
	}
	return args[0], limitSize(args[0])
}

func newFactor(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if len(args) > 1 {
		return args[0], limitSum(args[1], args[0])
	}
	return factor{args[0]}, nil
}

// factor is what an operator or a method is applied to whose result is limited.
type factor struct{ starlark.Value }

// Binary multiplies, adds or formats, once it is known that the result is not too
// large.
func (f factor) Binary(op syntax.Token, other starlark.Value, side starlark.Side) (starlark.Value, error) {
	x, y := f.Value, other
	if side == starlark.Right {
		x, y = y, x
	}
	var err error
	switch op {
	case syntax.PERCENT:
		err = limitFormat(x, "%", y)
	case syntax.PLUS:
		err = limitSum(x, y)
	default:
		err = cmp.Or(limitProduct(x, y), limitProduct(y, x))
	}
	if err != nil {
		return nil, err
	}
	return starlark.Binary(op, x, y)
}

// Attr returns a method of what is guarded: of Starlark's own values, one that is
// limited.
func (f factor) Attr(name string) (starlark.Value, error) {
	h, ok := f.Value.(starlark.HasAttrs)
	if !ok {
		return nil, nil
	}
	v, err := h.Attr(name)
	method, isMethod := v.(*starlark.Builtin)
	limit := limitArguments
	switch x := f.Value.(type) {
	case starlark.String:
		limit = func(args starlark.Tuple, kwargs []starlark.Tuple) error {
			return limitMethod(string(x), name, args, kwargs)
		}
	case *starlark.List:
		if name == "extend" {
			limit = func(args starlark.Tuple, _ []starlark.Tuple) error { return limitSums(x, args) }
		}
	case *starlark.Dict, *starlark.Set:
	default:
		isMethod = false
	}
	if err != nil || !isMethod {
		return v, err
	}
	return starlark.NewBuiltin(name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if err := limit(args, kwargs); err != nil {
			return nil, err
		}
		return method.CallInternal(t, args, kwargs)
	}), nil
}

// AttrNames lists what the value has.
func (f factor) AttrNames() []string {
	if h, ok := f.Value.(starlark.HasAttrs); ok {
		return h.AttrNames()
	}
	return nil
}

// maxStripped is how many bytes the characters may take that are stripped: each
// character of the text is looked for among them.
const maxStripped = 1000

var errTextLimit = fmt.Errorf("the text would be longer than %d", maxText)

// limitMethod refuses a call of a string's method when its result would be too
// long. A call that is wrong in another way is for the method to refuse.
func limitMethod(s, name string, args starlark.Tuple, kwargs []starlark.Tuple) error {
	switch name {
	case "join":
		if len(args) != 1 {
			return nil
		}
		seq, ok := args[0].(starlark.Iterable)
		if !ok {
			return nil
		}
		size := 0
		for v := range starlark.Elements(seq) {
			if size += max(starlark.Len(v), 0) + len(s); size > maxText {
				return errTextLimit
			}
		}
	case "replace":
		if len(args) < 2 {
			return nil
		}
		old, ok1 := args[0].(starlark.String)
		with, ok2 := args[1].(starlark.String)
		if ok1 && ok2 && len(with) > len(old) && len(s)+strings.Count(s, string(old))*(len(with)-len(old)) > maxText {
			return errTextLimit
		}
	case "format":
		values := slices.Clone(args)
		for _, kv := range kwargs {
			values = append(values, kv[1])
		}
		return limitFormat(starlark.String(s), "{", values)
	case "startswith", "endswith":
		return limitArguments(args, kwargs)
	case "strip", "lstrip", "rstrip":
		if len(args) > 0 && starlark.Len(args[0]) > maxStripped {
			return fmt.Errorf("%s: more than %d characters to strip", name, maxStripped)
		}
	}
	return nil
}

// limitFormat refuses to put values into a text when that would be too long: by
// "%" each value of a tuple once, else, at the worst, the longest at every place.
func limitFormat(format starlark.Value, mark string, values starlark.Value) error {
	s, ok := format.(starlark.String)
	if !ok {
		return nil
	}
	if err := limitSize(values); err != nil {
		return err
	}
	longest, sum := 0, 0
	add := func(v starlark.Value) {
		size := textOf(v)
		longest, sum = max(longest, size), sum+size
	}
	_, byName := values.(*starlark.Dict)
	switch v := values.(type) {
	case starlark.Tuple:
		for _, e := range v {
			add(e)
		}
	case *starlark.Dict:
		for _, item := range v.Items() {
			add(item[1])
		}
	default:
		add(v)
	}
	if byName || mark != "%" {
		sum = strings.Count(string(s), mark) * longest
	}
	if len(s)+sum > maxText {
		return errTextLimit
	}
	return nil
}

// textOf is about how many bytes a value has that is written out.
func textOf(v starlark.Value) int {
	var u unfolded
	u.add(v, 0)
	return u.text + u.parts - 1
}

// limitSum refuses x + y when it would be too large.
func limitSum(x, y starlark.Value) error {
	limit := maxElements
	switch x.(type) {
	case starlark.String, starlark.Bytes:
		limit = maxText
	}
	if n, m := starlark.Len(x), starlark.Len(y); n > 0 && m > 0 && n+m > limit {
		return fmt.Errorf("the sum would be longer than %d", limit)
	}
	return nil
}

// limitSums is limitSum for each of ys.
func limitSums(x starlark.Value, ys starlark.Tuple) error {
	for _, y := range ys {
		if err := limitSum(x, y); err != nil {
			return err
		}
	}
	return nil
}

// limitProduct refuses what × times when it would be too large.
func limitProduct(what, times starlark.Value) error {
	n, ok := times.(starlark.Int)
	if !ok {
		return nil
	}
	var size, limit int
	switch what := what.(type) {
	case starlark.Int:
		if bits := what.BigInt().BitLen() + n.BigInt().BitLen(); bits > maxIntBits {
			return fmt.Errorf("the product would be an integer of more than %d bits", maxIntBits)
		}
		return nil
	case starlark.String:
		size, limit = len(what), maxText
	case starlark.Bytes:
		size, limit = len(what), maxText
	case starlark.Tuple:
		size, limit = len(what), maxElements
	case *starlark.List:
		size, limit = what.Len(), maxElements
	}
	if size == 0 || n.Sign() <= 0 {
		return nil
	}
	if times, ok := n.Int64(); !ok || times > int64(limit/size) {
		return fmt.Errorf("the product would be longer than %d", limit)
	}
	return nil
}

// limitedRange is Starlark's range for as many numbers as anybody counts.
// Turning a huge one into a list is a single step that could not be stopped.
func limitedRange(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	v, err := starlark.Universe["range"].(*starlark.Builtin).CallInternal(thread, args, kwargs)
	if err != nil {
		return nil, err
	}
	if n := starlark.Len(v); n > maxElements {
		return nil, fmt.Errorf("range: %d numbers are more than the limit of %d", n, maxElements)
	}
	return v, nil
}
