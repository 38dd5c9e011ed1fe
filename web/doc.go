// Package web is the master's face to people and programs: the REST API, event
// and log streams, metrics and the health check. The commands of cmd/dormouse
// use it through package client, and so will the browser application: there is
// no other door.
//
// # Names
//
// The API stands below /api/v1 and uses the names of Buildbot's data API:
// builders, builds, buildrequests, steps, logs, workers; instances and events
// are ours. Lists come as an object with one array, named as the path's last
// part. /api/openapi.json describes every call.
//
//	GET  /api/v1/master
//	GET  /api/v1/builders
//	GET  /api/v1/builders/{builder}
//	POST /api/v1/builders/{builder}/force
//	GET  /api/v1/builders/{builder}/builds/{number}
//	GET  /api/v1/buildrequests          ?builder= state= before= limit=
//	GET  /api/v1/buildrequests/{id}
//	GET  /api/v1/buildrequests/{id}/story
//	POST /api/v1/buildrequests/{id}/cancel
//	GET  /api/v1/builds                 ?builder= worker= running= before= limit=
//	GET  /api/v1/builds/{id}
//	GET  /api/v1/builds/{id}/steps
//	GET  /api/v1/builds/{id}/artifacts      ?after=PATH: the page behind it
//	GET  /api/v1/builds/{id}/artifacts/raw  ?path=PATH: the file
//	POST /api/v1/builds/{id}/stop
//	GET  /api/v1/logs/{id}
//	GET  /api/v1/logs/{id}/contents     ?first= limit=
//	GET  /api/v1/logs/{id}/raw          text/plain, all lines there are
//	GET  /api/v1/logs/{id}/stream       ?from=  server-sent events
//	GET  /api/v1/workers
//	GET  /api/v1/workers/{worker}
//	POST /api/v1/workers/{worker}/pause, /unpause, /retry, /stop
//	GET  /api/v1/instances              ?all=
//	GET  /api/v1/leftovers              what was left behind in the accounts
//	POST /api/v1/leftovers/reap         ends it
//	GET  /api/v1/cost                   ?by= from= to=
//	GET  /api/v1/events                 ?kind= builder= build=  server-sent events
//	GET  /healthz, /metrics
//
// An error is a problem+json object (RFC 9457) with a code for machines, one
// of package dormouse's, and a detail for the person who must act.
//
// # Streams
//
// A stream sends a comment every 15 seconds, so that both ends notice a dead
// connection. A reader that takes nothing for 30 seconds is cut off; it comes
// back with the Last-Event-ID header and misses nothing.
//
// On /events every message is named "event" and carries a dormouse.Event. Its
// id is EPOCH-SEQ: the epoch tells one life of the master from the next, as seq
// starts again at 1. The newest thousand or so events are kept for readers that
// come back. One that was away for longer, or whose epoch has ended, first gets
// a message named "reset": it has missed something, and reads back what it
// cares about. A reader that opens the stream first and then reads the state
// sees everything. log.appended, which is frequent and only a hint, is sent
// where kind asks for it, and is not kept.
//
// On /logs/{id}/stream every message named "lines" carries a run of lines, and
// its id is the number of the line after them. The log is followed until it is
// complete, which a message named "complete" with the dormouse.Log says. Lines
// are read from the store as fast as the reader takes them and no faster.
//
// # Who may call
//
// Everything but /healthz needs "Authorization: Bearer TOKEN" (/metrics, too,
// unless it is opened). A request from a web page of another origin is refused,
// and so is one that reaches a loopback address under a foreign host name,
// which is how a page gets at a server on its reader's machine by DNS.
package web
