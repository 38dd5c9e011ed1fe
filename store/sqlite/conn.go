package sqlite

import (
	"context"
	"database/sql"
	"errors"
)

// conn is the writing connection. It keeps each statement prepared: the texts
// are constants of the store package, so there are only so many.
type conn struct {
	*sql.Conn
	prepared map[string]*sql.Stmt
}

func (c *conn) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := c.prepared[query]; s != nil {
		return s, nil
	}
	s, err := c.PrepareContext(ctx, query)
	if err == nil {
		c.prepared[query] = s
	}
	return s, err
}

// ExecContext implements [store.Tx].
func (c *conn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

// QueryContext implements [store.Tx].
func (c *conn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

func (c *conn) exec(ctx context.Context, query string) error {
	_, err := c.ExecContext(ctx, query)
	return err
}

// savepoint runs a write so that its failure undoes it alone. Its own error
// goes into the job; the error returned says that the whole transaction was
// lost, as SQLite rolls it back on a full disk, for instance. A statement after
// that would begin a transaction of its own, which is why every step is checked.
func (c *conn) savepoint(ctx context.Context, j *job) error {
	if err := c.exec(ctx, "SAVEPOINT w"); err != nil {
		return err
	}
	if j.err = j.f(ctx, c); j.err != nil {
		if err := c.exec(ctx, "ROLLBACK TO w"); err != nil {
			return errors.Join(j.err, err)
		}
	}
	return c.exec(ctx, "RELEASE w")
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.prepared {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.Conn.Close())...)
}
