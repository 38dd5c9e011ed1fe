package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

const attemptColumns = `id, worker, generation, number, account, region, instance_type, zone, subnet, market, token,
	state, opened_at, settled_at, error_code, error, console, request`

func scanAttempt(row scanner) (dormouse.LaunchAttempt, error) {
	var a dormouse.LaunchAttempt
	err := row.Scan(&a.ID, &a.Worker, &a.Generation, &a.Number, &a.Account, &a.Region,
		&a.Offering.InstanceType, &a.Offering.Zone, &a.Offering.Subnet, &a.Offering.Market, &a.Token,
		&a.State, timeColumn{&a.OpenedAt}, timeColumn{&a.SettledAt}, &a.ErrorCode, &a.Error, &a.Console, &a.Request)
	return a, err
}

func attemptName(id int64) string { return fmt.Sprintf("launch attempt %d", id) }

// OpenAttempt stores a rendered launch before it is sent and returns it with
// its ID and its number within the generation, which must exist. A token that
// was used before is a [dormouse.Conflict].
func (db *DB) OpenAttempt(ctx context.Context, fence int64, a dormouse.LaunchAttempt) (dormouse.LaunchAttempt, error) {
	generation := fmt.Sprintf("generation %d of worker %s", a.Generation, a.Worker)
	a.State, a.OpenedAt = dormouse.AttemptOpen, stored(a.OpenedAt)
	a = dormouse.LaunchAttempt{
		Worker: a.Worker, Generation: a.Generation, Account: a.Account, Region: a.Region, Offering: a.Offering,
		Token: a.Token, Request: a.Request, State: a.State, OpenedAt: a.OpenedAt,
	}
	if a.Request == nil {
		a.Request = []byte{}
	}
	err := db.fenced(ctx, fence, "opening a launch attempt for "+generation, func(t *tx) error {
		// The lock makes attempts of one generation take their numbers in turn.
		err := t.one(`SELECT number FROM generations WHERE worker = $1 AND number = $2`+t.forUpdate,
			[]any{a.Worker, a.Generation}, new(int64))
		if err == errNoRow {
			return dormouse.Errorf(dormouse.NotFound, "%s does not exist", generation)
		}
		if err != nil {
			return err
		}
		err = t.one(`SELECT COALESCE(MAX(number), 0) + 1 FROM attempts WHERE worker = $1 AND generation = $2`,
			[]any{a.Worker, a.Generation}, &a.Number)
		if err != nil {
			return err
		}
		err = t.one(`INSERT INTO attempts (worker, generation, number, account, region, instance_type, zone, subnet, market,
				token, state, opened_at, request)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'open', $11, $12) ON CONFLICT (token) DO NOTHING RETURNING id`,
			[]any{
				a.Worker, a.Generation, a.Number, a.Account, a.Region, a.Offering.InstanceType, a.Offering.Zone,
				a.Offering.Subnet, string(a.Offering.Market), a.Token, micros(a.OpenedAt), a.Request,
			}, &a.ID)
		if err == errNoRow {
			return dormouse.Errorf(dormouse.Conflict, "the token of the launch attempt for %s was used before", generation)
		}
		return err
	})
	return a, err
}

// SettleAttempt stores EC2's definite answer to an attempt (its state, error
// and time) together with the instances it started, in one step. Settling again
// the same way is fine and leaves what has since been learnt of the instances;
// another answer than the one stored, or an instance of another attempt, is a
// [dormouse.Conflict].
func (db *DB) SettleAttempt(ctx context.Context, fence int64, a dormouse.LaunchAttempt, instances []dormouse.Instance) error {
	name := attemptName(a.ID)
	if a.State != dormouse.AttemptAccepted && a.State != dormouse.AttemptRefused {
		return dormouse.Errorf(dormouse.Invalid, "%s can not be settled as %q", name, a.State)
	}
	return db.fenced(ctx, fence, "settling "+name, func(t *tx) error {
		n, err := t.exec(`UPDATE attempts SET state = $2, settled_at = $3, error_code = $4, error = $5
			WHERE id = $1 AND state = 'open'`, a.ID, string(a.State), micros(a.SettledAt), a.ErrorCode, a.Error)
		if err != nil {
			return err
		}
		if n == 0 {
			before, err := t.attempt(a.ID)
			if err != nil {
				return err
			}
			if before.State != a.State {
				return dormouse.Errorf(dormouse.Conflict, "%s is already settled as %s, not %s", name, before.State, a.State)
			}
		}
		for _, i := range instances {
			if i.AttemptID == 0 {
				i.AttemptID = a.ID
			}
			if i.AttemptID != a.ID {
				return dormouse.Errorf(dormouse.Conflict, "instance %s belongs to %s, not to %s", i.ID, attemptName(i.AttemptID), name)
			}
			if err := t.claimInstance(i); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) attempt(id int64) (dormouse.LaunchAttempt, error) {
	return single(t, attemptName(id), `SELECT `+attemptColumns+` FROM attempts WHERE id = $1`, []any{id}, scanAttempt)
}

// OpenAttempts returns the attempts whose outcome is not known, oldest first.
func (db *DB) OpenAttempts(ctx context.Context) ([]dormouse.LaunchAttempt, error) {
	return db.attempts(ctx, `WHERE state = 'open' ORDER BY id`)
}

// Attempts returns the attempts of one generation, in order.
func (db *DB) Attempts(ctx context.Context, worker string, generation int64) ([]dormouse.LaunchAttempt, error) {
	return db.attempts(ctx, `WHERE worker = $1 AND generation = $2 ORDER BY number`, worker, generation)
}

func (db *DB) attempts(ctx context.Context, where string, args ...any) (attempts []dormouse.LaunchAttempt, err error) {
	err = db.read(ctx, "reading launch attempts", func(t *tx) (err error) {
		attempts, err = all(t, `SELECT `+attemptColumns+` FROM attempts `+where, args, scanAttempt)
		return err
	})
	return attempts, err
}

// maxConsole is what EC2 keeps of a console, too.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
const maxConsole = 64 << 10

// SetAttemptConsole keeps what the machine of an attempt printed: its last
// 64 KiB, where boots that fail say why.
func (db *DB) SetAttemptConsole(ctx context.Context, fence, id int64, console string) error {
	// Mending can lengthen the text threefold, so it comes before the cut.
	console = mendText(console[max(0, len(console)-maxConsole):])
	if cut := len(console) - maxConsole; cut > 0 {
		console = strings.ToValidUTF8(console[cut:], "")
	}
	return db.fenced(ctx, fence, "keeping the console of "+attemptName(id), func(t *tx) error {
		n, err := t.exec(`UPDATE attempts SET console = $2 WHERE id = $1`, id, console)
		if err == nil && n == 0 {
			err = dormouse.Errorf(dormouse.NotFound, "%s does not exist", attemptName(id))
		}
		return err
	})
}
