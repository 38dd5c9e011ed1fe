// Package wire speaks Buildbot's worker protocol, version 7: MessagePack in
// WebSocket frames, both sides.
package wire
