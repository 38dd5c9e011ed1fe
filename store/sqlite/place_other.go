//go:build !linux

package sqlite

import (
	"fmt"
	"os"
	"syscall"

	"github.com/dormouse-ci/dormouse/store"
)

// place tells the file at path from a copy of it by its number. A clone of its
// disk is not noticed here.
func place(path string) (store.Place, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return store.Place{"file": fmt.Sprint(s.Ino)}, nil
	}
	return store.Place{}, nil
}
