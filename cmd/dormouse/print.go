package main

import (
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dormouse-ci/dormouse"
)

// printer writes a command's output: what was asked for to out, everything
// else to errs. It may be used by several goroutines; each call stays whole.
type printer struct {
	mu   sync.Mutex
	out  io.Writer
	errs io.Writer
	// terminal says that out is one, color that it may have colours.
	terminal bool
	color    bool
	now      func() time.Time
}

func newPrinter(cmd *cobra.Command) *printer {
	p := &printer{out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr(), now: time.Now}
	if f, ok := p.out.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	p.color = p.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return p
}

// The colours are the terminal's own sixteen: its user chose how they look.
const (
	green   = lipgloss.Green
	yellow  = lipgloss.Yellow
	red     = lipgloss.Red
	magenta = lipgloss.Magenta
	cyan    = lipgloss.Cyan
	grey    = lipgloss.BrightBlack
)

func (p *printer) paint(c color.Color, text string) string {
	if !p.color || text == "" {
		return text
	}
	return lipgloss.NewStyle().Foreground(c).Render(text)
}

func (p *printer) bold(text string) string {
	if !p.color {
		return text
	}
	return lipgloss.NewStyle().Bold(true).Render(text)
}

// printf writes to the output.
func (p *printer) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format, args...)
}

// notef writes beside the output.
func (p *printer) notef(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.errs, format, args...)
}

// printJSON writes a value as indented JSON.
func (p *printer) printJSON(v any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table writes aligned columns under a heading. Cells may be painted, and are
// otherwise printed as they are: text from elsewhere goes through plain first.
func (p *printer) table(heading []string, rows [][]string) {
	width := make([]int, len(heading))
	for _, row := range append([][]string{heading}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], lipgloss.Width(cell))
		}
	}
	var b strings.Builder
	write := func(row []string, paint func(string) string) {
		for i, cell := range row {
			b.WriteString(paint(cell))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-lipgloss.Width(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	write(heading, p.bold)
	for _, row := range rows {
		write(row, func(s string) string { return s })
	}
	p.printf("%s", trimLines(b.String()))
}

// trimLines takes the blanks off the ends of lines.
func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// result writes a result in its colour; nil is one that runs.
func (p *printer) result(r *dormouse.Result) string {
	if r == nil {
		return p.paint(cyan, "running")
	}
	switch *r {
	case dormouse.Success:
		return p.paint(green, r.String())
	case dormouse.Warnings:
		return p.paint(yellow, r.String())
	case dormouse.Failure:
		return p.paint(red, r.String())
	case dormouse.Skipped:
		return p.paint(grey, r.String())
	default:
		return p.paint(magenta, r.String())
	}
}

// ago writes how long ago something was.
func (p *printer) ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := p.now().Sub(t)
	if d < time.Second {
		return "now"
	}
	return coarse(d) + " ago"
}

// span writes how long something took, or has taken so far.
func (p *printer) span(from, to time.Time) string {
	if from.IsZero() {
		return "-"
	}
	if to.IsZero() {
		to = p.now()
	}
	return fine(to.Sub(from))
}

// coarse writes a duration in its largest unit.
func coarse(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// fine writes a duration in its two largest units.
func fine(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Truncate(100*time.Millisecond).Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd %02dh", int(d.Hours()/24), int(d.Hours())%24)
	}
}

// dash stands for what is empty.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
