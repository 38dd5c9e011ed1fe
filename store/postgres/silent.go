package postgres

import (
	"context"
	"database/sql"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/stdlib"
)

// silent are the server's sessions of connections that have fallen silent in the
// midst of a write. The server may not have noticed: behind half of a statement it
// waits for the other half, however long, and keeps the locks that the transaction
// has. So the next write ends them first.
type silent struct {
	mu       sync.Mutex
	sessions []int64 // process ids
}

// silentMost bounds what is remembered: the connections of both writers, and as
// many again.
const silentMost = 2 * (connections + 1)

func (s *silent) add(session int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions = append(s.sessions, session)
	s.sessions = s.sessions[max(0, len(s.sessions)-silentMost):]
}

// end ends them over a connection that works. A number may be another session's by
// now, and after a failover is one of another server: only what is of our account
// and name is ended, and that would connect again.
func (s *silent) end(ctx context.Context, conn *sql.Conn) {
	s.mu.Lock()
	sessions := slices.Clone(s.sessions)
	s.mu.Unlock()
	for _, session := range sessions {
		_, err := conn.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE pid = $1 AND usename = current_user AND application_name = current_setting('application_name')
				AND backend_type = 'client backend' AND pid <> pg_backend_pid()`, session)
		if err != nil && !answered(err) {
			return // the next one tries
		}
		s.mu.Lock()
		if i := slices.Index(s.sessions, session); i >= 0 {
			s.sessions = slices.Delete(s.sessions, i, i+1)
		}
		s.mu.Unlock()
	}
}

// connectionClosed reports whether the driver has given a connection up.
func connectionClosed(conn *sql.Conn) bool {
	closed := true
	_ = conn.Raw(func(c any) error {
		closed = c.(*stdlib.Conn).Conn().IsClosed()
		return nil
	})
	return closed
}

// sessionOf is the server's session of a connection.
func sessionOf(conn *sql.Conn) (session int64) {
	_ = conn.Raw(func(c any) error {
		session = int64(c.(*stdlib.Conn).Conn().PgConn().PID())
		return nil
	})
	return session
}
