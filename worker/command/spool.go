package command

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/dormouse-ci/dormouse/wire"
)

const (
	// spoolMemory is how much of a spool is kept in memory: what is under way to
	// an attached master fits, so that the disk is used only while there is none.
	spoolMemory = 1 << 20
	// recordCost is what a record costs beside its bytes.
	recordCost = 64
)

// record is some updates of a command, encoded.
type record struct {
	first, count int64 // position of the first line or value, and how many there are
	data         wire.Updates
	// On disk, data is nil.
	offset int64
	size   int
}

// spool is the queue of what a command has said and the master has not
// acknowledged: in memory as long as it is little, in a file beyond. It belongs
// to the command's goroutine.
type spool struct {
	dir   string // of the file
	limit int64  // bytes; beyond, the process is held back
	log   *slog.Logger

	records []record
	memory  int   // bytes that are in memory
	size    int64 // bytes altogether
	file    *os.File
	end     int64 // of the file
	onDisk  int   // records
	broken  bool  // the file could not be written
}

func (s *spool) len() int { return len(s.records) }

// full reports whether nothing more should be added for now.
func (s *spool) full() bool { return s.size >= s.limit || s.broken || s.spent() }

// spent reports whether the file is at the bound, although much of what is in it
// may be acknowledged: it is cut once nothing in it is wanted.
func (s *spool) spent() bool { return s.end >= s.limit }

// add appends a record. What the disk does not take stays in memory, and the
// spool is full.
func (s *spool) add(r record) {
	r.size = len(r.data)
	s.size += int64(r.size) + recordCost
	if s.memory+r.size > spoolMemory {
		if err := s.write(&r); err != nil {
			if !s.broken {
				s.log.Warn("output cannot be kept on disk: the command is held back until the master is there", "error", err)
			}
			s.broken = true
		}
	}
	if r.data != nil {
		s.memory += r.size
	}
	s.records = append(s.records, r)
}

// write puts a record into the file. The file has no name, so that nothing of it
// is left when the agent ends, however it does.
func (s *spool) write(r *record) error {
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, ".spool-")
		if err != nil {
			return err
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			return err
		}
		s.file = f
	}
	if _, err := s.file.WriteAt(r.data, s.end); err != nil {
		return err
	}
	r.offset, r.data = s.end, nil
	s.end += int64(r.size)
	s.onDisk++
	return nil
}

// data returns the updates of record i.
func (s *spool) data(i int) (wire.Updates, error) {
	r := &s.records[i]
	if r.data != nil {
		return r.data, nil
	}
	b := make([]byte, r.size)
	if _, err := s.file.ReadAt(b, r.offset); err != nil {
		return nil, fmt.Errorf("output that was kept on disk cannot be read back: %w", err)
	}
	return b, nil
}

// drop forgets the first record.
func (s *spool) drop() {
	r := s.records[0]
	s.records[0] = record{}
	s.records = s.records[1:]
	s.size -= int64(r.size) + recordCost
	if len(s.records) == 0 {
		s.broken = false // the next may find the disk in a better state
	}
	if r.data != nil {
		s.memory -= r.size
		return
	}
	if s.onDisk--; s.onDisk == 0 {
		// Nothing in it is wanted any more. That it cannot be cut costs space
		// until the command ends, and no more.
		_ = s.file.Truncate(0)
		s.end, s.broken = 0, false
	}
}

// close gives up what is left.
func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
	s.records = nil
}
