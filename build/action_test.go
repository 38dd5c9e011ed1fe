package build

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEveryActionIsDone: there is an action for each type that the root package has
// for what a step does.
func TestEveryActionIsDone(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../action.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var types, done []string
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "stepAction" {
			types = append(types, f.Recv.List[0].Type.(*ast.Ident).Name)
		}
	}
	for typ := range actions {
		done = append(done, typ.Name())
	}
	slices.Sort(types)
	slices.Sort(done)
	if diff := cmp.Diff(types, done); diff != "" || len(types) == 0 {
		t.Errorf("(-types +done)\n%s", diff)
	}
}
