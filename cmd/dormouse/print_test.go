package main

import (
	"strings"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for _, c := range []struct {
		d            time.Duration
		fine, coarse string
	}{
		{-time.Second, "0ms", "0s"},
		{340 * time.Millisecond, "340ms", "0s"},
		{9990 * time.Millisecond, "9.9s", "9s"},
		{59*time.Second + 999*time.Millisecond, "59s", "59s"},
		{60 * time.Second, "1m 00s", "1m"},
		{59*time.Minute + 59*time.Second, "59m 59s", "59m"},
		{90 * time.Minute, "1h 30m", "1h"},
		{47 * time.Hour, "47h 00m", "47h"},
		{50 * time.Hour, "2d 02h", "2d"},
	} {
		if got := fine(c.d); got != c.fine {
			t.Errorf("fine(%v) is %q, want %q", c.d, got, c.fine)
		}
		if got := coarse(max(c.d, 0)); got != c.coarse {
			t.Errorf("coarse(%v) is %q, want %q", c.d, got, c.coarse)
		}
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	p := &printer{out: &out}
	p.table([]string{"NAME", "STATE"}, [][]string{{"a", "x"}, {"日本語", ""}, {"longer name", "y"}})
	want := "NAME         STATE\na            x\n日本語\nlonger name  y\n"
	if out.String() != want {
		t.Errorf("the table is\n%s\nwant\n%s", out.String(), want)
	}
}

func TestColoursKeepColumns(t *testing.T) {
	var out strings.Builder
	p := &printer{out: &out, color: true}
	p.table([]string{"A", "B"}, [][]string{{p.paint(red, "failure"), "x"}, {"success", "y"}})
	lines := strings.Split(plainLines(out.String()), "\n")
	if strings.Index(lines[1], "x") != strings.Index(lines[2], "y") {
		t.Errorf("the columns are not aligned:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "\x1b[31mfailure") {
		t.Errorf("no colour: %q", out.String())
	}
}

func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return strings.Join(lines, "\n")
}
