package store

import (
	"strconv"
	"strings"
)

// conditions gathers what a listing selects, each with its argument.
type conditions struct {
	terms []string
	args  []any
}

// add appends a condition that ends in a placeholder for arg.
func (c *conditions) add(term string, arg any) {
	c.args = append(c.args, arg)
	c.terms = append(c.terms, term+"$"+strconv.Itoa(len(c.args)))
}

// whole returns the statement for all rows, in the given order.
func (c *conditions) whole(query, order string) (string, []any) {
	if len(c.terms) > 0 {
		query += " WHERE " + strings.Join(c.terms, " AND ")
	}
	return query + " ORDER BY " + order, c.args
}

// query returns the statement for one page, in the given order.
func (c *conditions) query(query, order string, limit int) (string, []any) {
	query, args := c.whole(query, order)
	args = append(args, int64(pageSize(limit)))
	return query + " LIMIT $" + strconv.Itoa(len(args)), args
}
