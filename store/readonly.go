package store

import (
	"context"

	"github.com/dormouse-ci/dormouse"
)

// ReadOnly makes a DB whose writes are refused, of an opened database that has
// been written by a master. It needs no Writer.
func ReadOnly(b Backend) *DB {
	b.Writer = refusingWriter{}
	return &DB{backend: b}
}

type refusingWriter struct{}

func (refusingWriter) Write(context.Context, string, func(context.Context, Tx) error) error {
	return dormouse.Errorf(dormouse.Internal, "the database was opened for reading only")
}

func (refusingWriter) Close() error { return nil }
