package command

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

func TestUnknownCommand(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	all := New(t.Context(), Config{BaseDir: t.TempDir()}, log)
	defer all.Close()
	a := all.Attach(t.Context(), newFakeConn(), log)
	defer a.Close()
	err := a.Start(wire.StartCommand{ID: "1", Name: "frobnicate", Args: nil})
	if dormouse.CodeOf(err) != dormouse.NotFound || !strings.Contains(err.Error(), `["cpdir" "download_file" "glob" `) {
		t.Error(err)
	}
	a.Interrupt("1", "why") // what has ended, or never began, is left alone
	if a.Resume("1", 0) {
		t.Error("a command goes on that never began")
	}
}

// TestMovesOutsideGroups: what moves a file ends with its connection.
func TestMovesOutsideGroups(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	all := New(t.Context(), Config{BaseDir: t.TempDir()}, log)
	defer all.Close()
	a := all.Attach(t.Context(), newFakeConn(), log)
	defer a.Close()
	err := a.Start(wire.StartCommand{ID: "1", Group: "7", Name: "upload_file", Args: map[string]any{"path": "/nowhere", "maxsize": nil, "blocksize": int64(10)}})
	if dormouse.CodeOf(err) != dormouse.Invalid || !strings.Contains(err.Error(), "outlive its connection") || all.Held() {
		t.Error(err)
	}
}
