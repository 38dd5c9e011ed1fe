package config

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

const buildbotPage = "../docs/buildbot.md"

func readBuildbotPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(buildbotPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What docs/buildbot.md says of a name.
const (
	works     = "works"
	differs   = "differs"
	notHere   = "not here"
	isRefused = "refused"
)

// documentedName is a row of one of the page's tables, or one of several names
// that share it.
type documentedName struct {
	line            int
	name, here, how string
}

// quotedName is a name as the page writes it.
var quotedName = regexp.MustCompile("`[^`]+`")

// tableRows are the rows of the tables whose first column has that heading. What
// stands in backquotes in the first cell, between commas, are the names; whole
// has it all be one.
func tableRows(t *testing.T, text, heading string, whole bool) (out []documentedName) {
	t.Helper()
	inside := false
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == heading:
			inside = true
			continue
		case !inside || strings.HasPrefix(cells[0], "---"):
			continue
		case len(cells) != 3:
			t.Errorf("%s:%d: there are %d cells", buildbotPage, i+1, len(cells))
			continue
		}
		names := quotedName.FindAllString(cells[0], -1)
		if whole {
			names = []string{cells[0]}
		}
		if strings.Join(names, ", ") != cells[0] || len(names) == 0 {
			t.Errorf("%s:%d: not names in backquotes, with commas between them: %s", buildbotPage, i+1, cells[0])
		}
		for _, name := range names {
			out = append(out, documentedName{i + 1, strings.Trim(name, "`"), cells[1], cells[2]})
		}
	}
	return out
}

// allowed are the words that may stand beside a name, and how it goes on where that
// is given; must says that the name has to be there, and nothing that it changes
// nothing.
type allowed struct {
	words         []string
	how           string
	must, nothing bool
}

// registry is every name that a configuration can have, with what the page may
// say of it.
func registry() map[string]allowed {
	out := make(map[string]allowed)
	bySupport := func(name string, s support, advice string, must bool) {
		switch s {
		case later:
			out[name] = allowed{words: []string{notHere}, how: advice, must: true}
		case ignored:
			out[name] = allowed{words: []string{differs}, must: true, nothing: true}
		default:
			out[name] = allowed{words: []string{works, differs}, must: must}
		}
	}
	for key, p := range keys {
		bySupport("c['"+key+"']", p.support, p.advice, true)
	}
	for key := range wwwKeys {
		bySupport("c['www']['"+key+"']", map[bool]support{true: supported, false: ignored}[key == "port" || tlsKeys[key]], "", true)
	}
	for _, c := range registered {
		s := supported
		switch {
		case c.later:
			s = later
		case c.read == nil:
			s = ignored
		}
		bySupport(c.name, s, c.advice, true)
		for _, p := range c.params {
			bySupport(paramRow(c, p), p.support, p.advice, false)
		}
	}
	for name := range resultCodes {
		bySupport("util."+name, supported, "", true)
	}
	return out
}

// paramRow is what the page calls a parameter. One that every step has is there
// once.
func paramRow(c *class, p param) string {
	if strings.HasPrefix(c.name, "steps.") && slices.Contains(stepParams, p) {
		return "steps.*: " + p.name
	}
	return c.name + ": " + p.name
}

// checkRows compares rows with what there is, in both directions.
func checkRows(t *testing.T, rows []documentedName, known map[string]allowed) {
	t.Helper()
	said := make(map[string]int)
	for _, r := range rows {
		a, ok := known[r.name]
		switch {
		case !ok:
			t.Errorf("%s:%d: there is no %s", buildbotPage, r.line, r.name)
		case said[r.name] != 0:
			t.Errorf("%s:%d: %s stands on line %d, too", buildbotPage, r.line, r.name, said[r.name])
		case !slices.Contains(a.words, r.here):
			t.Errorf("%s:%d: %s is %s, and the page says %q", buildbotPage, r.line, r.name, strings.Join(a.words, " or "), r.here)
		case r.here == notHere && !strings.HasPrefix(r.how, "use "):
			t.Errorf("%s:%d: %s is not here, and the page does not say what to use: %q", buildbotPage, r.line, r.name, r.how)
		case a.how != "" && r.how != a.how:
			t.Errorf("%s:%d: the advice on %s is %q, and the page says %q", buildbotPage, r.line, r.name, a.how, r.how)
		case r.here == notHere && a.how == "" && !strings.HasPrefix(r.name, "import "):
			t.Errorf("%s:%d: the program has no advice on %s", buildbotPage, r.line, r.name)
		case r.here == differs && r.how == "":
			t.Errorf("%s:%d: the page does not say how %s differs", buildbotPage, r.line, r.name)
		case a.nothing != strings.HasPrefix(r.how, "changes nothing"):
			t.Errorf("%s:%d: that %s changes nothing is %t, and the page says: %s", buildbotPage, r.line, r.name, a.nothing, r.how)
		}
		said[r.name] = r.line
	}
	for _, name := range sortedKeys(known) {
		if known[name].must && said[name] == 0 {
			t.Errorf("%s: there is no row for %s (%s)", buildbotPage, name, strings.Join(known[name].words, " or "))
		}
	}
}

// TestBuildbotNamesAreDocumented compares the tables of names in docs/buildbot.md
// with what configurations can have.
func TestBuildbotNamesAreDocumented(t *testing.T) {
	checkRows(t, tableRows(t, readBuildbotPage(t), "name", false), registry())
}

// TestBuildbotImportsAreDocumented compares the table of modules with what can be
// imported.
func TestBuildbotImportsAreDocumented(t *testing.T) {
	known := make(map[string]allowed)
	modules := importable()
	for path := range modules {
		known[path] = allowed{words: []string{works}, must: true}
	}
	for path := range wholeModules {
		known["import "+path] = allowed{words: []string{works}, must: true}
	}
	for path := range nothingHere {
		known["import "+path] = allowed{words: []string{notHere}, must: true}
	}
	rows := tableRows(t, readBuildbotPage(t), "module", false)
	checkRows(t, rows, known)
	for _, r := range rows {
		names, ok := modules[r.name]
		if !ok {
			continue
		}
		said := quotedName.FindAllString(r.how, -1)
		for i := range said {
			said[i] = strings.Trim(said[i], "`")
		}
		slices.Sort(said)
		if diff := cmp.Diff(sortedKeys(names), said); diff != "" {
			t.Errorf("%s:%d: what %s has (-there +said)\n%s", buildbotPage, r.line, r.name, diff)
		}
	}
}

// TestBuildbotPythonIsDocumented reads what the page says can be read, and what it
// says is refused; every word that is refused is among it.
func TestBuildbotPythonIsDocumented(t *testing.T) {
	const head = "c = BuildmasterConfig = {}\nc['title'] = 'x'\n"
	const line = 3
	rows := tableRows(t, readBuildbotPage(t), "Python", true)
	shown := make(map[string]bool)
	for _, r := range rows {
		_, err := Parse("m.star", []byte(head+r.name+"\n"), testOptions())
		var errs Errors
		if !errors.As(err, &errs) {
			t.Fatalf("%s:%d: %s: there are no workers, and the error is %v", buildbotPage, r.line, r.name, err)
		}
		is := works
		if slices.ContainsFunc(errs, func(e Error) bool { return e.Line == line }) {
			is = isRefused
		}
		if r.here != is {
			t.Errorf("%s:%d: %s: the page says %q, and it is %s: %v", buildbotPage, r.line, r.name, r.here, is, err)
		}
		if r.here == isRefused && r.how == "" {
			t.Errorf("%s:%d: %s is refused, and the page does not say what to write", buildbotPage, r.line, r.name)
		}
		for word := range strings.FieldsFuncSeq(r.name, func(r rune) bool { return strings.ContainsRune(" ()[]{}';", r) }) {
			shown[strings.TrimSuffix(word, ":")] = r.here == isRefused
		}
	}
	for _, word := range dialect.Refused() {
		if !shown[word] {
			t.Errorf("%s: no row shows that %q is refused", buildbotPage, word)
		}
	}
	if len(rows) < 30 {
		t.Errorf("%s: there are only %d forms of Python", buildbotPage, len(rows))
	}
}

// fences are the page's blocks of a language, with the line where each begins.
func fences(text, language string) (out []string, lines []int) {
	before := 0
	for {
		at := strings.Index(text[before:], "\n```"+language+"\n")
		if at < 0 {
			return out, lines
		}
		start := before + at + len("\n```"+language+"\n")
		length := strings.Index(text[start:], "\n```")
		out = append(out, text[start:start+length+1])
		lines = append(lines, strings.Count(text[:start], "\n")+1)
		before = start + length
	}
}

// TestBuildbotExamples reads the page's configurations: whole ones have neither
// mistakes nor warnings, and pieces none of their own.
func TestBuildbotExamples(t *testing.T) {
	options := testOptions()
	options.SecretsDir = t.TempDir()
	if err := os.WriteFile(filepath.Join(options.SecretsDir, "linux-password"), []byte("pw"), 0o600); err != nil {
		t.Fatal(err)
	}
	blocks, lines := fences(readBuildbotPage(t), "python")
	if len(blocks) < 3 {
		t.Errorf("%s: there are only %d blocks of Python", buildbotPage, len(blocks))
	}
	for i, block := range blocks {
		whole := strings.HasPrefix(block, "from ")
		if !whole {
			block = "from buildbot.plugins import steps, util, worker\nc = BuildmasterConfig = {}\nc['workers'] = [worker.Worker('w', 'pw')]\n" + block
		}
		m, err := Parse("m.star", []byte(block), options)
		if err != nil {
			t.Errorf("%s:%d: %v", buildbotPage, lines[i], err)
		} else if whole && len(m.Warnings) > 0 {
			t.Errorf("%s:%d: %v", buildbotPage, lines[i], m.Warnings)
		}
	}
}

// TestBuildbotPageForm holds the page to its width, and to the limits that it
// names.
func TestBuildbotPageForm(t *testing.T) {
	const width = 120
	text := readBuildbotPage(t)
	for i, line := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(line); n > width && !strings.HasPrefix(line, "|") {
			t.Errorf("%s:%d: %d characters", buildbotPage, i+1, n)
		}
	}
	if callTime != dialect.MaxTime {
		t.Errorf("a call has %s and a reading %s, and the page has one for both", callTime, dialect.MaxTime)
	}
	for _, limit := range []string{
		grouped(callSteps) + " steps and " + fmt.Sprint(callTime.Seconds()) + " seconds",
		"those about one request have " + grouped(choiceSteps) + " steps",
		grouped(dialect.MaxSteps) + " steps and " + fmt.Sprint(dialect.MaxTime.Seconds()) + " seconds",
	} {
		if !strings.Contains(text, limit) {
			t.Errorf("%s does not say %q", buildbotPage, limit)
		}
	}
	for what, v := range map[string]starlark.HasAttrs{
		"props": newProperties(expr.Scope{}).(mapping), "a step": newStep(expr.Scope{}).(*record),
		"a request": newRequest(dormouse.BuildRequest{}), "a worker": newWorker("w"),
	} {
		for _, name := range v.AttrNames() {
			if name != "setProperty" && !strings.Contains(text, "`"+name) {
				t.Errorf("%s does not say that %s has %s", buildbotPage, what, name)
			}
		}
	}
}

// grouped writes a number with a comma before every three digits.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// stockProgram is Debian's.
const stockProgram = "/usr/bin/buildbot-worker"

// TestBuildbotWorkerChange makes workers with Debian's buildbot-worker as the page
// says, and others that its commands change: in the end their buildbot.tac is the
// same where it matters, and Python can read it.
func TestBuildbotWorkerChange(t *testing.T) {
	if _, err := os.Stat(stockProgram); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: apt-get install buildbot-worker", stockProgram)
		}
		t.Skipf("%s is missing: apt-get install buildbot-worker", stockProgram)
	}
	text := readBuildbotPage(t)
	option := regexp.MustCompile(`buildbot-worker create-worker (--protocol=\S+) `).FindStringSubmatch(text)
	if option == nil {
		t.Fatalf("%s does not say how a worker is made", buildbotPage)
	}
	commands, _ := fences(text, "sh")
	if len(commands) != 2 {
		t.Fatalf("%s has %d blocks of commands", buildbotPage, len(commands))
	}
	line := regexp.MustCompile("is then\n`(protocol = [^`]+)`").FindStringSubmatch(text)
	if line == nil {
		t.Fatalf("%s does not show the line", buildbotPage)
	}

	made := createStock(t, option[1])
	if got := protocolLine(made); got != line[1] {
		t.Errorf("a worker that is made with %s has %q", option[1], got)
	}
	plain := createStock(t)
	if got := protocolLine(plain); got != "protocol = 'pb'" {
		t.Errorf("a worker that is made without has %q", got)
	}
	if got := change(t, plain, commands[0]); protocolLine(got) != line[1] {
		t.Errorf("the first command makes %q of it", protocolLine(got))
	} else if diff := cmp.Diff(made, got); diff != "" {
		t.Errorf("the first command (-made +changed)\n%s", diff)
	}
	if got := change(t, plain, commands[1]); got != plain {
		t.Errorf("the second command changes what has the line\n%s", cmp.Diff(plain, got))
	}
	old := strings.NewReplacer("protocol = 'pb'\n", "", " protocol=protocol,", "").Replace(plain)
	if strings.Contains(old, "protocol") {
		t.Fatalf("not as an older version wrote it:\n%s", old)
	}
	got := change(t, old, commands[1])
	if n := strings.Count(got, "protocol='msgpack_experimental_v7',"); n != 1 {
		t.Errorf("the second command writes the argument %d times:\n%s", n, got)
	}
	for _, tac := range []string{made, got} {
		readTac(t, tac)
	}
}

// createStock makes a worker's directory and returns its buildbot.tac, whose place
// is everywhere the same.
func createStock(t *testing.T, options ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "worker")
	args := slices.Concat([]string{stockProgram, "create-worker"}, options, []string{dir, "ci.example.com:9989", "linux", "pw"})
	run(t, "", "/usr/bin/python3", args...)
	b, err := os.ReadFile(filepath.Join(dir, "buildbot.tac"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), dir, "/var/lib/worker")
}

// run runs a program to its end.
func run(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + t.TempDir(), "PYTHONDONTWRITEBYTECODE=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// change runs a command of the page in a directory with that buildbot.tac.
func change(t *testing.T, tac, command string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "buildbot.tac")
	if err := os.WriteFile(file, []byte(tac), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "/bin/sh", "-c", command)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// protocolLine is the line of a buildbot.tac that says what the worker speaks.
func protocolLine(tac string) string {
	for line := range strings.SplitSeq(tac, "\n") {
		if strings.HasPrefix(line, "protocol") {
			return line
		}
	}
	return ""
}

// tacReader runs a buildbot.tac up to its worker, and prints what class of bot
// that is.
const tacReader = `
import sys
import buildbot_worker.bot, twisted.python.logfile
class Log:
    write = flush = close = lambda *args: None
twisted.python.logfile.LogFile.fromFullPath = lambda *args, **kwargs: Log()
scope = {'__file__': sys.argv[1]}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], 'exec'), scope)
print(type(scope['s'].bot).__name__)
`

// readTac has Python run a buildbot.tac: its worker is one that speaks the
// protocol.
func readTac(t *testing.T, tac string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "buildbot.tac")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(tac, "/var/lib/worker", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(run(t, dir, "/usr/bin/python3", "-c", tacReader, file)); got != "BotMsgpack" {
		t.Errorf("the worker of this buildbot.tac is a %s\n%s", got, tac)
	}
}
