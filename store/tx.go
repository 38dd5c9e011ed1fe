package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// tx is a transaction, or the read pool, as the methods of this package use it.
type tx struct {
	ctx                 context.Context
	q                   querier
	forUpdate, forShare string
	patience            *patience // of a read; a write's context has its time
}

// driverError is what a driver said, or the server through it, in contrast to
// what is wrong with the rows themselves.
type driverError struct{ error }

// Unwrap gives the driver's own error.
func (e *driverError) Unwrap() error { return e.error }

func fromDriver(err error) error {
	if err == nil {
		return nil
	}
	return &driverError{err}
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// scanner is a row that can be read into variables.
type scanner interface{ Scan(dest ...any) error }

var errNoRow = errors.New("no row")

// exec changes rows and tells how many.
func (t *tx) exec(query string, args ...any) (int64, error) {
	res, err := t.q.(Tx).ExecContext(t.ctx, query, mend(args)...)
	if err != nil {
		return 0, fromDriver(err)
	}
	n, err := res.RowsAffected()
	return n, fromDriver(err)
}

// one reads the first row into dest; errNoRow if there is none.
func (t *tx) one(query string, args []any, dest ...any) error {
	found := false
	err := t.each(query, args, func(row scanner) error {
		if found {
			return nil
		}
		found = true
		return row.Scan(dest...)
	})
	if err == nil && !found {
		return errNoRow
	}
	return err
}

// each calls f for every row. It reads to the end also where one row is
// expected: PostgreSQL reports a violated constraint after the rows that
// RETURNING gives.
func (t *tx) each(query string, args []any, f func(scanner) error) error {
	return t.patience.wait(func() error {
		rows, err := t.q.QueryContext(t.ctx, query, mend(args)...)
		if err != nil {
			return fromDriver(err)
		}
		defer rows.Close()
		for rows.Next() {
			if err := f(rows); err != nil {
				return err
			}
		}
		return fromDriver(rows.Err())
	})
}

// all collects what scan makes of every row.
func all[T any](t *tx, query string, args []any, scan func(scanner) (T, error)) ([]T, error) {
	var out []T
	err := t.each(query, args, func(row scanner) error {
		v, err := scan(row)
		if err == nil {
			out = append(out, v)
		}
		return err
	})
	return out, err
}

// single reads the one row there should be. What names the object that is not
// found otherwise.
func single[T any](t *tx, what, query string, args []any, scan func(scanner) (T, error)) (T, error) {
	var out T
	found := false
	err := t.each(query, args, func(row scanner) (err error) {
		found = true
		out, err = scan(row)
		return err
	})
	if err == nil && !found {
		err = dormouse.Errorf(dormouse.NotFound, "%s does not exist", what)
	}
	return out, err
}

// mend makes the strings among args what PostgreSQL can hold.
func mend(args []any) []any {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = mendText(s)
		}
	}
	return args
}

func mendText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
