package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

const attemptColumns = `attempts.id, launches.id, worker, generation, number, account, region, instance_type, zone, subnet,
	market, attempts.token, state, opened_at, settled_at, error_code, error, console, request`

const fromAttempts = ` FROM attempts JOIN launches ON launches.token = attempts.token `

func scanAttempt(row scanner) (dormouse.LaunchAttempt, error) {
	var a dormouse.LaunchAttempt
	err := row.Scan(&a.ID, &a.Launch, &a.Worker, &a.Generation, &a.Number, &a.Account, &a.Region,
		&a.Offering.InstanceType, &a.Offering.Zone, &a.Offering.Subnet, &a.Offering.Market, &a.Token,
		&a.State, timeColumn{&a.OpenedAt}, timeColumn{&a.SettledAt}, &a.ErrorCode, &a.Error, &a.Console, &a.Request)
	return a, err
}

func attemptName(id int64) string { return fmt.Sprintf("launch attempt %d", id) }

// OpenAttempts stores a rendered launch before it is sent, as an attempt of each
// generation that it is for, in one step: they share the first one's launch,
// token and request. It returns them with their IDs and their numbers within
// the generations, which must exist. It may be repeated; a token that was used
// for another launch, or for other generations, is a [dormouse.Conflict].
func (o *Owner) OpenAttempts(ctx context.Context, attempts []dormouse.LaunchAttempt) ([]dormouse.LaunchAttempt, error) {
	if len(attempts) == 0 {
		return nil, dormouse.Errorf(dormouse.Invalid, "a launch is for one generation at least")
	}
	first := attempts[0]
	if first.Request == nil {
		first.Request = []byte{}
	}
	opened := make([]dormouse.LaunchAttempt, len(attempts))
	err := o.write(ctx, "opening launch "+first.Launch, func(t *tx) error {
		n, err := t.exec(`INSERT INTO launches (token, id, request) VALUES ($1, $2, $3) ON CONFLICT (token) DO NOTHING`,
			first.Token, first.Launch, first.Request)
		if err == nil && n == 0 {
			opened, err = t.openedBefore(first, attempts)
			return err
		}
		if err != nil {
			return err
		}
		for i, a := range attempts {
			a.Launch, a.Token, a.Request = first.Launch, first.Token, first.Request
			if opened[i], err = t.openAttempt(a); err != nil {
				return err
			}
		}
		return nil
	})
	return opened, err
}

// openedBefore returns the attempts that an earlier try has opened.
func (t *tx) openedBefore(first dormouse.LaunchAttempt, attempts []dormouse.LaunchAttempt) ([]dormouse.LaunchAttempt, error) {
	before, err := all(t, `SELECT `+attemptColumns+fromAttempts+`WHERE attempts.token = $1 ORDER BY attempts.id`,
		[]any{first.Token}, scanAttempt)
	if err != nil {
		return nil, err
	}
	same := func(a, b dormouse.LaunchAttempt) bool {
		return a.Launch == first.Launch && bytes.Equal(a.Request, first.Request) && a.Worker == b.Worker && a.Generation == b.Generation
	}
	if !slices.EqualFunc(before, attempts, same) {
		return nil, dormouse.Errorf(dormouse.Conflict, "the token of launch %s was used before", first.Launch)
	}
	return before, nil
}

func (t *tx) openAttempt(a dormouse.LaunchAttempt) (dormouse.LaunchAttempt, error) {
	a = dormouse.LaunchAttempt{
		Launch: a.Launch, Worker: a.Worker, Generation: a.Generation, Account: a.Account, Region: a.Region, Offering: a.Offering,
		Token: a.Token, Request: a.Request, State: dormouse.AttemptOpen, OpenedAt: stored(a.OpenedAt),
	}
	// The lock makes attempts of one generation take their numbers in turn.
	err := t.one(`SELECT number FROM generations WHERE worker = $1 AND number = $2`+t.forUpdate,
		[]any{a.Worker, a.Generation}, new(int64))
	if errors.Is(err, errNoRow) {
		return a, dormouse.Errorf(dormouse.NotFound, "generation %d of worker %s does not exist", a.Generation, a.Worker)
	}
	if err != nil {
		return a, err
	}
	err = t.one(`SELECT COALESCE(MAX(number), 0) + 1 FROM attempts WHERE worker = $1 AND generation = $2`,
		[]any{a.Worker, a.Generation}, &a.Number)
	if err != nil {
		return a, err
	}
	return a, t.one(`INSERT INTO attempts (worker, generation, number, account, region, instance_type, zone, subnet, market,
			token, state, opened_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'open', $11) RETURNING id`,
		[]any{
			a.Worker, a.Generation, a.Number, a.Account, a.Region, a.Offering.InstanceType, a.Offering.Zone,
			a.Offering.Subnet, string(a.Offering.Market), a.Token, micros(a.OpenedAt),
		}, &a.ID)
}

// SettleAttempts stores EC2's definite answer to attempts (state, error and
// time of each) together with the instances they started, in one step. Settling
// again the same way is fine and leaves what has since been learnt of the
// instances. Another answer than the one stored is a [dormouse.Conflict], and an
// instance that another attempt has is [dormouse.Internal] around a
// [dormouse.ClaimedError]: EC2 starts none twice.
func (o *Owner) SettleAttempts(ctx context.Context, attempts []dormouse.LaunchAttempt, instances []dormouse.Instance) error {
	return o.write(ctx, "settling a launch", func(t *tx) error {
		ours := make(map[int64]bool, len(attempts))
		for _, a := range attempts {
			if err := t.settleAttempt(a); err != nil {
				return err
			}
			ours[a.ID] = true
		}
		for _, i := range instances {
			if !ours[i.AttemptID] {
				return dormouse.Errorf(dormouse.Conflict, "instance %s belongs to %s, which is not of this launch", i.ID, attemptName(i.AttemptID))
			}
			if err := t.claimInstance(i); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) settleAttempt(a dormouse.LaunchAttempt) error {
	name := attemptName(a.ID)
	if a.State != dormouse.AttemptAccepted && a.State != dormouse.AttemptRefused {
		return dormouse.Errorf(dormouse.Invalid, "%s cannot be settled as %q", name, a.State)
	}
	n, err := t.exec(`UPDATE attempts SET state = $2, settled_at = $3, error_code = $4, error = $5
		WHERE id = $1 AND state = 'open'`, a.ID, string(a.State), micros(a.SettledAt), a.ErrorCode, a.Error)
	if err != nil || n > 0 {
		return err
	}
	before, err := t.attempt(a.ID)
	if err == nil && before.State != a.State {
		err = dormouse.Errorf(dormouse.Conflict, "%s is already settled as %s, not %s", name, before.State, a.State)
	}
	return err
}

func (t *tx) attempt(id int64) (dormouse.LaunchAttempt, error) {
	return single(t, attemptName(id), `SELECT `+attemptColumns+fromAttempts+`WHERE attempts.id = $1`, []any{id}, scanAttempt)
}

// UnsettledAttempts returns the attempts whose outcome is not known, oldest
// first.
func (db *DB) UnsettledAttempts(ctx context.Context) ([]dormouse.LaunchAttempt, error) {
	return db.attempts(ctx, `WHERE state = 'open' ORDER BY attempts.id`)
}

// LaunchAttempts returns the attempts that share a token, in the order they
// were opened in.
func (db *DB) LaunchAttempts(ctx context.Context, token string) ([]dormouse.LaunchAttempt, error) {
	return db.attempts(ctx, `WHERE attempts.token = $1 ORDER BY attempts.id`, token)
}

// Attempts returns the attempts of one generation, in order.
func (db *DB) Attempts(ctx context.Context, worker string, generation int64) ([]dormouse.LaunchAttempt, error) {
	return db.attempts(ctx, `WHERE worker = $1 AND generation = $2 ORDER BY number`, worker, generation)
}

func (db *DB) attempts(ctx context.Context, where string, args ...any) (attempts []dormouse.LaunchAttempt, err error) {
	err = db.read(ctx, "reading launch attempts", func(t *tx) (err error) {
		attempts, err = all(t, `SELECT `+attemptColumns+fromAttempts+where, args, scanAttempt)
		return err
	})
	return attempts, err
}

// maxConsole is what EC2 keeps of a console, too.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
const maxConsole = 64 << 10

// SetAttemptConsole keeps what the machine of an attempt printed: its last
// 64 KiB, where boots that fail say why.
func (o *Owner) SetAttemptConsole(ctx context.Context, id int64, console string) error {
	// Mending can lengthen the text threefold, so it comes before the cut.
	console = mendText(console[max(0, len(console)-maxConsole):])
	if cut := len(console) - maxConsole; cut > 0 {
		console = strings.ToValidUTF8(console[cut:], "")
	}
	return o.write(ctx, "keeping the console of "+attemptName(id), func(t *tx) error {
		n, err := t.exec(`UPDATE attempts SET console = $2 WHERE id = $1`, id, console)
		if err == nil && n == 0 {
			err = dormouse.Errorf(dormouse.NotFound, "%s does not exist", attemptName(id))
		}
		return err
	})
}
