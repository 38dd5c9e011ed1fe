package command

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/dormouse-ci/dormouse/wire"
)

// TestSpool compares a spool with a plain list, through memory and disk.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := spool{dir: dir, limit: 4 << 20, log: slog.New(slog.DiscardHandler)}
		defer s.close()
		var model [][]byte
		var size int64
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(model) > 0 && rapid.Bool().Draw(t, "drop") {
				size -= int64(len(model[0])) + recordCost
				s.drop()
				model = model[1:]
			} else {
				data := bytes.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(t, "byte"))}, rapid.IntRange(1, 700_000).Draw(t, "size"))
				s.add(record{data: data})
				model = append(model, data)
				size += int64(len(data)) + recordCost
			}
			if s.len() != len(model) || s.size != size || s.full() != (size >= s.limit) || s.memory > spoolMemory {
				t.Fatalf("%d records, %d bytes, %d in memory, full %v; want %d, %d", s.len(), s.size, s.memory, s.full(), len(model), size)
			}
			for i, want := range model {
				got, err := s.data(i)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("record %d: %d bytes of %d, %v", i, len(got), len(want), err)
				}
			}
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Fatalf("files are left: %v, %v", left, err)
		}
	})
}

// TestSpoolWithoutDisk: what the disk does not take is kept, and nothing more
// is wanted until it is gone.
func TestSpoolWithoutDisk(t *testing.T) {
	s := spool{dir: filepath.Join(t.TempDir(), "missing"), limit: 1 << 30, log: slog.New(slog.DiscardHandler)}
	for range 2 {
		s.add(record{data: make([]byte, spoolMemory-1)})
	}
	if !s.full() {
		t.Error("more is taken than can be kept")
	}
	for i := range 2 {
		if b, err := s.data(i); err != nil || len(b) != spoolMemory-1 {
			t.Errorf("record %d: %d bytes, %v", i, len(b), err)
		}
	}
}

// TestSpoolFileIsBounded: what is acknowledged while more comes does not make the
// file grow beyond the bound.
func TestSpoolFileIsBounded(t *testing.T) {
	s := spool{dir: t.TempDir(), limit: 4 << 20, log: slog.New(slog.DiscardHandler)}
	defer s.close()
	held := 0
	for range 20_000 {
		if s.full() {
			held++
			s.drop()
			continue
		}
		s.add(record{count: 1, data: make(wire.Updates, 64<<10)})
		if s.len() > 24 { // more than memory takes
			s.drop()
		}
		if s.end > s.limit+64<<10 {
			t.Fatalf("the file has %d bytes", s.end)
		}
	}
	if held == 0 {
		t.Error("the file was never at its bound")
	}
}
