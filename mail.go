package dormouse

import "time"

// Mail is a message that waits in the outbox until a mail server has taken it.
type Mail struct {
	ID int64
	// MessageID names the message for ever: a mail that is sent twice, because
	// the first answer was lost, is known by it.
	MessageID string
	// Server says which of the configured mail servers it goes out by.
	Server    string
	From      string
	To        []string
	Subject   string
	Text      string
	CreatedAt time.Time
	Attempts  int       // so far
	NextAt    time.Time // when it is tried next
}
