package command

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

func TestTerminal(t *testing.T) {
	// All three are the controlling terminal, and all that is said is output.
	master := shell(t, map[string]any{
		"command": `for i in 0 1 2; do [ -t $i ] && echo $i is one; done; echo oops >&2; echo direct > /dev/tty; ps -o pgid= -o sid= -p $$ | { read g s; [ $g = $$ ] && [ $s = $$ ] && echo leads; }; exit 3`,
		"usePTY":  true, "env": map[string]any{"TERM": "dumb"},
	})
	if diff := cmp.Diff("0 is one\n1 is one\n2 is one\noops\ndirect\nleads\n", master.text(dormouse.Stdout)); diff != "" {
		t.Error(diff)
	}
	if master.pairs["rc"] != 3 || master.text(dormouse.Stderr) != "" || !strings.Contains(master.text(dormouse.Header), " using PTY: true\n") {
		t.Errorf("%v\n%s", master.pairs, master.text(dormouse.Header))
	}
	// A command that is given input is not.
	master = shell(t, map[string]any{"command": "cat; [ -t 0 ] || echo none", "usePTY": true, "initial_stdin": "in\n"})
	if got := master.text(dormouse.Stdout); got != "in\nnone\n" || !strings.Contains(master.text(dormouse.Header), " no terminal: the command is given input\n using PTY: false\n") {
		t.Errorf("%q\n%s", got, master.text(dormouse.Header))
	}
}

// Nothing is lost of much output on a terminal, and of the last of it.
func TestTerminalOutput(t *testing.T) {
	master := shell(t, map[string]any{"command": "seq 1 20000; printf end", "usePTY": true})
	got := master.text(dormouse.Stdout)
	if !strings.HasPrefix(got, "1\n2\n") || !strings.HasSuffix(got, "\n20000\nend\n") || strings.Count(got, "\n") != 20001 {
		t.Errorf("%d lines", strings.Count(got, "\n"))
	}
}

func TestTerminalIsKilled(t *testing.T) {
	master := newFakeConn()
	r := newRunning(t.Context(), master, testPath)
	ended := start(t, t.Context(), r, map[string]any{"command": `trap '' HUP; sh -c 'trap "" HUP; echo $$; sleep 1000' & echo $$; read x`, "usePTY": true})
	both := pids(t, master, 2)
	r.interrupt("")
	if failure := <-ended; failure != "" || master.pairs["rc"] != -1 {
		t.Errorf("%q, %v", failure, master.pairs)
	}
	for _, pid := range both {
		gone(t, pid)
	}
	// One that waits for what nobody types is silent.
	master = shell(t, map[string]any{"command": "read x", "usePTY": true, "timeout": 0.2})
	if master.pairs["failure_reason"] != failedSilent || master.pairs["rc"] != -1 {
		t.Errorf("%v", master.pairs)
	}
}
