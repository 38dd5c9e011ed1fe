package postgres

import (
	"context"
	"database/sql"
	"errors"
	"strconv"

	"github.com/dormouse-ci/dormouse/store"
	"github.com/jackc/pgx/v5/pgconn"
)

// insufficientPrivilege is PostgreSQL's code for what a role may not do.
const insufficientPrivilege = "42501"

// place tells a database from a copy of it. The cluster's identifier is given by
// initdb and kept by its standbys, so a failover changes nothing. A database and
// a table get a number when they are made, and so another one when a dump of
// them is restored, in the same cluster too.
func place(ctx context.Context, db *sql.DB) (store.Place, error) {
	var database, table int64
	err := db.QueryRowContext(ctx, `SELECT oid::bigint, 'deployment'::regclass::oid::bigint FROM pg_database WHERE datname = current_database()`).
		Scan(&database, &table)
	if err != nil {
		return nil, err
	}
	p := store.Place{"database": strconv.FormatInt(database, 10), "table": strconv.FormatInt(table, 10)}
	var cluster int64
	err = db.QueryRowContext(ctx, `SELECT system_identifier FROM pg_control_system()`).Scan(&cluster)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == insufficientPrivilege {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	p["cluster"] = strconv.FormatInt(cluster, 10)
	return p, nil
}
