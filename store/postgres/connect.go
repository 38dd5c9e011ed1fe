package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// limits are how long the server may take.
type limits struct {
	write   time.Duration // a write, from the wait for a connection to its answer
	lease   time.Duration // a write to the lease
	read    time.Duration // one statement of a read, with its rows
	connect time.Duration // to let us in, where the URL says nothing of it
	ping    time.Duration // to say that a connection which has rested is still there
}

// usual: what takes a healthy server more than a second or two is rare (a
// checkpoint on a slow disk), and what takes it more than ten is a fault that is
// better said than waited for. A lease of half a minute bears several renewals
// that fail.
var usual = limits{
	write: 10 * time.Second, lease: 2 * time.Second, read: 10 * time.Second,
	connect: 5 * time.Second, ping: 2 * time.Second,
}

// rested is how long a connection may have been idle to be used without a ping.
const rested = time.Second

// harden has the system notice a server that has vanished, also while nothing is
// asked of it, and bounds how long a connection takes to be made.
func harden(config *pgx.ConnConfig, l limits) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = l.connect
	}
	d := &net.Dialer{
		Timeout: config.ConnectTimeout,
		// A connection that has been silent for 10 seconds is asked three times, and
		// given up 20 seconds after its last sign of life.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 3},
		Control:         giveUpUnacknowledged(l.write),
	}
	config.DialFunc = d.DialContext
}

// pool makes a pool of so many connections, each of which setUp prepares.
func pool(config *pgx.ConnConfig, l limits, size int, setUp ...func(context.Context, *pgx.Conn) error) *sql.DB {
	db := stdlib.OpenDB(*config,
		// A connection that has rested is asked first whether it is still there.
		// The driver would wait as long as its caller for that.
		stdlib.OptionShouldPing(func(ctx context.Context, p stdlib.ShouldPingParams) bool {
			if p.IdleDuration > rested {
				ctx, cancel := context.WithTimeout(ctx, l.ping)
				defer cancel()
				_ = p.Conn.Ping(ctx) // if it fails, the connection is closed
			}
			return false
		}),
		stdlib.OptionResetSession(func(_ context.Context, c *pgx.Conn) error {
			if c.IsClosed() {
				return driver.ErrBadConn // another one is taken
			}
			return nil
		}),
		stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
			for _, f := range setUp {
				if err := f(ctx, c); err != nil {
					return err
				}
			}
			return nil
		}))
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db
}

// endStanding has the server end a transaction whose client has said nothing for
// so long between two statements, and one whose client's machine has vanished,
// within half a minute: what a transaction has locked is locked until then, for
// the next master, too. These are not parameters of the connection, which poolers
// refuse.
func endStanding(after time.Duration) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET idle_in_transaction_session_timeout = "+strconv.FormatInt(after.Milliseconds(), 10))
		if err != nil {
			return err
		}
		_, err = c.Exec(ctx, `SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3;
			SET tcp_user_timeout = 10000`)
		if answered(err) {
			return nil // a relative of PostgreSQL that does without
		}
		return err
	}
}
