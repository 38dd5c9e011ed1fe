package dormouse_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReliabilityNamesTests: each test and fuzz target that docs/reliability.md
// names is there (a name that ends with … is the beginning of one), and each
// test of what goes wrong in Buildbot is named.
func TestReliabilityNamesTests(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	page, err := os.ReadFile("docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+…?`).FindAllString(string(page), -1) {
		beginning, cut := strings.CutSuffix(name, "…")
		found := false
		for _, test := range tests {
			if test == name || cut && strings.HasPrefix(test, beginning) {
				found, named[test] = true, true
			}
		}
		if !found {
			t.Errorf("there is no test %s", name)
		}
	}
	if len(named) < 40 {
		t.Errorf("only %d tests are named", len(named))
	}
	defects := 0
	for _, test := range tests {
		if strings.HasPrefix(test, "TestBuildbotDefect") {
			defects++
			if !named[test] {
				t.Errorf("%s is not named", test)
			}
		}
	}
	if defects != 17 {
		t.Errorf("there are %d tests of defects", defects)
	}
}

// testNames are all tests and fuzz targets of the repository.
func testNames(t *testing.T) []string {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(\w+ \*testing\.[TF]\)`)
	var tests []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			tests = append(tests, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// TestCannotIsOneWord: in code, messages and documents.
func TestCannotIsOneWord(t *testing.T) {
	t.Parallel()
	wrong := regexp.MustCompile(`(?i)\bcan` + ` not\b( only)?`)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return cmp.Or(err, fs.SkipDir)
		}
		if !slices.Contains([]string{".go", ".md", ".star", ".tmpl", ".txtar", ".sh", ".sql"}, filepath.Ext(path)) {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range wrong.FindAllSubmatchIndex(text, -1) {
			if m[2] < 0 {
				t.Errorf("%s:%d: write cannot", path, 1+strings.Count(string(text[:m[0]]), "\n"))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAssumptionsNameCodeAndTests: each rule of docs/aws-assumptions.md has its
// source, its code, its tests and what happens otherwise; the code and the tests
// that it names are there.
func TestAssumptionsNameCodeAndTests(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/aws-assumptions.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, name := range testNames(t) {
		tests[name] = true
	}
	rules := strings.Split(string(page), "\n### ")[1:]
	for _, rule := range rules {
		title, text, _ := strings.Cut(rule, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		if strings.TrimSpace(strings.SplitN(text, "\n* ", 2)[0]) == "" {
			t.Errorf("%q: the rule itself is missing", title)
		}
		for _, field := range []string{"Source", "Code", "Tests", "Otherwise"} {
			_, value, found := strings.Cut(text, "\n* "+field+": ")
			value, _, _ = strings.Cut(value, "\n* ")
			if !found || strings.TrimSpace(value) == "" {
				t.Errorf("%q: has no %s", title, field)
			}
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(value, -1) {
				if field == "Code" && !declared(t, m[1]) {
					t.Errorf("%q: there is no %s", title, m[1])
				}
				if field == "Tests" && !tests[m[1]] {
					t.Errorf("%q: there is no test %s", title, m[1])
				}
			}
			if (field == "Code" || field == "Tests") && !strings.Contains(value, "`") {
				t.Errorf("%q: %s names nothing", title, field)
			}
		}
	}
	if len(rules) == 0 {
		t.Error("the page has no rules")
	}
}

// declared says whether a package of the repository declares what path/pkg.Name
// or path/pkg.Type.Member names.
func declared(t *testing.T, name string) bool {
	t.Helper()
	slash := strings.LastIndex(name, "/") + 1
	dir, member, found := strings.Cut(name[slash:], ".")
	if !found {
		return false
	}
	if name[:slash]+dir == "dormouse" {
		dir = "" // the root
	}
	files, err := filepath.Glob(filepath.Join(name[:slash]+dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range syntax.Decls {
			if slices.Contains(declaredNames(d), member) {
				return true
			}
		}
	}
	return false
}

// declaredNames are the names that a declaration brings: a method is Type.Method,
// a field Type.Field.
func declaredNames(d ast.Decl) []string {
	var names []string
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		receiver := d.Recv.List[0].Type
		if star, is := receiver.(*ast.StarExpr); is {
			receiver = star.X
		}
		if index, is := receiver.(*ast.IndexExpr); is {
			receiver = index.X
		}
		if id, is := receiver.(*ast.Ident); is {
			names = append(names, id.Name+"."+d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, id := range spec.Names {
					names = append(names, id.Name)
				}
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
				if fields, is := spec.Type.(*ast.StructType); is {
					for _, f := range fields.Fields.List {
						for _, id := range f.Names {
							names = append(names, spec.Name.Name+"."+id.Name)
						}
					}
				}
			}
		}
	}
	return names
}
