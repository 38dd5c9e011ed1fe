package store

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// usagePage is how many instances are held at a time, with their builds: a
// report of any length takes about a megabyte.
const usagePage = 500

// billedAfterEnd is how long after its end an instance may still be billed: some
// are billed by full hours.
const billedAfterEnd = time.Hour

// Usage calls f with every instance that may be billed in [from, to), and the
// builds that ran on it, all as of one moment and in no certain order. The time
// of a build that runs is up to now. An error of f ends it and is returned.
func (db *DB) Usage(ctx context.Context, from, to, now time.Time, f func(dormouse.Usage) error) error {
	return db.eachBilled(ctx, from, to, func(t *tx, instances []dormouse.Instance) error {
		builds, err := t.buildTimes(instances, now)
		if err != nil {
			return err
		}
		for _, i := range instances {
			if err := f(dormouse.Usage{Instance: i, Builds: builds[i.ID]}); err != nil {
				return err
			}
		}
		return nil
	})
}

// InstancesBetween calls f with every instance that may be billed in [from,
// to), all as of one moment and in no certain order. An error of f ends it and
// is returned.
func (db *DB) InstancesBetween(ctx context.Context, from, to time.Time, f func(dormouse.Instance) error) error {
	return db.eachBilled(ctx, from, to, func(_ *tx, instances []dormouse.Instance) error {
		for _, i := range instances {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	})
}

// UsageOf returns what is known of the instances with the given ids, each with
// the builds that ran on it, by id. The time of a build that runs is up to now.
// Ids that are not in the ledger are left out.
func (db *DB) UsageOf(ctx context.Context, ids []string, now time.Time) (map[string]dormouse.Usage, error) {
	out := make(map[string]dormouse.Usage, len(ids))
	err := db.snapshot(ctx, "reading what was used", func(t *tx) error {
		for len(ids) > 0 {
			n := min(len(ids), usagePage)
			list, args := placeholders(nil, ids[:n])
			ids = ids[n:]
			instances, err := all(t, `SELECT `+instanceColumns+` FROM instances WHERE id IN (`+list+`)`, args, scanInstance)
			if err != nil {
				return err
			}
			builds, err := t.buildTimes(instances, now)
			if err != nil {
				return err
			}
			for _, i := range instances {
				out[i.ID] = dormouse.Usage{Instance: i, Builds: builds[i.ID]}
			}
		}
		return nil
	})
	return out, err
}

// eachBilled calls f with the instances of a range, a page at a time: first
// those that have not ended, then the others by their ends.
func (db *DB) eachBilled(ctx context.Context, from, to time.Time, f func(*tx, []dormouse.Instance) error) error {
	return db.snapshot(ctx, "reading the ledger", func(t *tx) error {
		// An end that is not known is stored as 0.
		end, last, id := int64(0), int64(0), ""
		for {
			page, err := all(t, `SELECT `+instanceColumns+` FROM instances
				WHERE (ended_at, id) > ($1, $2) AND ended_at <= $3 AND launched_at < $4 ORDER BY ended_at, id LIMIT $5`,
				[]any{end, id, last, micros(to), int64(usagePage)}, scanInstance)
			if err != nil {
				return err
			}
			if len(page) > 0 {
				if err := f(t, page); err != nil {
					return err
				}
			}
			switch {
			case len(page) == usagePage:
				end, id = micros(page[len(page)-1].EndedAt), page[len(page)-1].ID
			case last == 0:
				end, id, last = max(micros(from.Add(-billedAfterEnd)), 1), "", forever
			default:
				return nil
			}
		}
	})
}

// forever is later than any time that is stored.
const forever = int64(1) << 62

// buildTimes returns how long builds ran on instances, by instance.
func (t *tx) buildTimes(instances []dormouse.Instance, now time.Time) (map[string][]dormouse.BuildTime, error) {
	out := map[string][]dormouse.BuildTime{}
	if len(instances) == 0 {
		return out, nil
	}
	ids := make([]string, len(instances))
	for i := range instances {
		ids[i] = instances[i].ID
	}
	const day = int64(24 * time.Hour / time.Microsecond)
	list, args := placeholders([]any{micros(now), day}, ids)
	err := t.each(`SELECT instance_id, builder, started_at / $2 AS day, COUNT(*),
			CAST(SUM(CASE WHEN finished_at = 0 THEN $1 ELSE finished_at END - started_at) AS BIGINT)
		FROM builds WHERE instance_id <> '' AND instance_id IN (`+list+`)
		GROUP BY instance_id, builder, day ORDER BY instance_id, builder, day`,
		args, func(row scanner) error {
			var id string
			var b dormouse.BuildTime
			var days, micros int64
			err := row.Scan(&id, &b.Builder, &days, &b.Builds, &micros)
			b.Day, b.Time = fromMicros(days*day), time.Duration(micros)*time.Microsecond
			out[id] = append(out[id], b)
			return err
		})
	return out, err
}

// placeholders returns the list of placeholders for texts, which come after
// the arguments there are, and all arguments.
func placeholders(args []any, texts []string) (string, []any) {
	var b strings.Builder
	for i, text := range texts {
		if i > 0 {
			b.WriteString(", ")
		}
		args = append(args, text)
		b.WriteString("$" + strconv.Itoa(len(args)))
	}
	return b.String(), args
}
