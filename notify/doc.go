// Package notify tells people by mail.
//
// A mail is written ([Missing]), made durable in the outbox, and only then sent:
//
//	Add ─▶ store ─▶ wake ─▶ send ─┬─ taken ─────────────▶ removed
//	          ▲                   ├─ refused for now ───▶ postponed, doubling from 30 s to an hour
//	          └───────────────────┤
//	                              └─ refused for good, or after three days ─▶ removed, and said in the log
//
// A server that took a mail and whose answer was lost gets it again, with the
// same Message-ID.
package notify
