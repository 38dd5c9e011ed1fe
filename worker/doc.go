// Package worker is the agent that runs on an instance: it attaches to the
// master, runs the commands it is sent, and goes on for ever.
//
// # Life
//
//	        dial                     refused, unreachable, dropped
//	start ───────▶ attached ─────────────────────────────────▶ back-off ──┐
//	                  │  ▲                                                │
//	                  │  └────────────────────────────────────────────────┘
//	                  │ the master orders a shutdown          ──▶ [power-off command] ──▶ nil
//	                  │ the generation is over (409)          ──▶ [power-off command] ──▶ [ErrSuperseded]
//	                  │ --maxretries failures in a row        ──▶ [power-off command] ──▶ [ErrGaveUp]
//	                  │ the context ends (SIGTERM)            ──▶ the master is told ──▶ nil
//
// Whatever ends an attachment ends the commands that ran on it, and they are
// waited for before the agent dials again: two builds never share a directory.
// A command that ends that way is not reported complete, so that the master
// retries the build and does not count it as failed.
//
// What it is sent runs in package command.
package worker
