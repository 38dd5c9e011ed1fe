package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// maxMails is how many mails are read at once; the rest follows when these are
// gone.
const maxMails = 100

// AddMail puts a mail into the outbox. One with the same MessageID is there
// already: it stays as it is.
func (o *Owner) AddMail(ctx context.Context, m dormouse.Mail) error {
	to, err := json.Marshal(m.To)
	if err != nil {
		return err
	}
	return o.write(ctx, "putting a mail into the outbox", func(t *tx) error {
		_, err := t.exec(`INSERT INTO mails (message_id, server, sender, recipients, subject, body, created_at, attempts, next_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (message_id) DO NOTHING`,
			m.MessageID, m.Server, m.From, string(to), m.Subject, m.Text, micros(m.CreatedAt), m.Attempts, micros(m.NextAt))
		return err
	})
}

// Mails returns what is in the outbox, what is due first before the rest, at
// most a hundred.
func (db *DB) Mails(ctx context.Context) (mails []dormouse.Mail, err error) {
	err = db.read(ctx, "reading the outbox", func(t *tx) (err error) {
		mails, err = all(t, `SELECT id, message_id, server, sender, recipients, subject, body, created_at, attempts, next_at
			FROM mails ORDER BY next_at, id LIMIT $1`, []any{maxMails}, func(row scanner) (dormouse.Mail, error) {
			var m dormouse.Mail
			err := row.Scan(&m.ID, &m.MessageID, &m.Server, &m.From, jsonColumn{&m.To}, &m.Subject, &m.Text,
				timeColumn{&m.CreatedAt}, &m.Attempts, timeColumn{&m.NextAt})
			return m, err
		})
		return err
	})
	return mails, err
}

// PostponeMail notes that a mail was tried, and is tried again at a time.
func (o *Owner) PostponeMail(ctx context.Context, id int64, attempts int, next time.Time) error {
	return o.write(ctx, fmt.Sprintf("postponing mail %d", id), func(t *tx) error {
		_, err := t.exec(`UPDATE mails SET attempts = $2, next_at = $3 WHERE id = $1`, id, attempts, micros(next))
		return err
	})
}

// RemoveMail takes a mail out of the outbox.
func (o *Owner) RemoveMail(ctx context.Context, id int64) error {
	return o.write(ctx, fmt.Sprintf("removing mail %d", id), func(t *tx) error {
		_, err := t.exec(`DELETE FROM mails WHERE id = $1`, id)
		return err
	})
}
