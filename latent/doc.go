// Package latent is the life of one latent worker: a worker whose instance
// exists only while there is work for it.
//
// [Step] decides everything. It is a pure function of the worker's policy, its
// state, the time and one event; it returns the new state and the actions that
// must follow. [Worker] hosts it: one goroutine applies events in order, makes
// each new state durable before it performs the actions, and posts their
// outcomes back as events.
//
// # Generations
//
// Every substantiation opens a new generation and closes it again. At most one
// is open at a time, and events carry the one they are about, so that the late
// answer of an earlier generation is dropped (but for [Ended], which frees what
// a closed generation still held, and [BuildFinished], whose result speaks of the
// worker).
//
// # Phases
//
// The seven are Buildbot's. Connection, start in flight and builds vary
// independently of them, so they are fields.
//
//	                   wanted, not paused, not quarantined
//	not substantiated ────────────────────────────────────▶ substantiating
//	  ▲   │   ▲                                             │  ▲
//	  │   │   │ start refused (quarantine)      volumes and │  │ start throttled
//	  │   │   └──────────────────────────────┐  address free│  │ or unanswered
//	  │   │ ending                           │              ▼  │ (back-off)
//	  │   ▼                                  └───────────── starting
//	  │  shut down                                          │    │
//	  │                        attached and prepared        │    │ missing_timeout, instance died
//	  │                     ┌───────────────────────────────┘    │ (quarantine); not wanted
//	  │                     ▼                                    │
//	  │               substantiated ───────────────────────────┐ │
//	  │                    idle, interrupted, instance died,   │ │
//	  │                    connection lost, ending             ▼ ▼
//	  └──────────────────────────────────────────────── insubstantiating ◀─▶ insubstantiating,
//	                      termination accepted                               wanted again
//
// # What follows from what
//
//	event            in phase                      what follows
//	─────            ────────                      ────────────
//	Demand           not substantiated             open a generation and start it, once a quarantine is over
//	                 substantiating, starting      nothing: it is on its way; withdrawn, the idle time runs
//	                 substantiated                 the idle time is off while requests wait
//	                 insubstantiating              the next generation starts once the termination is accepted;
//	                                               an Exclusive worker's, once the instance has ended
//	StartAccepted    starting                      missing_timeout and the checks begin
//	                 insubstantiating              nothing: the stop in flight covers the instance
//	StartFailed      starting, transient           same generation again after a back-off (2 s doubling to 2 min),
//	                                               or when the failure says
//	                 starting, definite            close the generation; quarantine
//	                                               (what passes by itself is transient: no answer at all, 5xx,
//	                                               throttling, no capacity, a quota, the budget)
//	Freed            substantiating, for what      start again, without the back-off
//	                 something else had
//	Attached         substantiating, starting      substantiated, whether the start call has returned or not, as
//	                                               soon as the instance is prepared
//	                 substantiated                 a reconnection: the grace time ends
//	                 any other                     refused
//	Detached         substantiated                 grace time; the instance is checked meanwhile
//	Checked, Ended   starting: it died             quarantine, stop (console kept); missing_timeout is not waited for
//	                 substantiated: it died        stop
//	                 starting: it runs             prepare it, where there is something to prepare
//	PrepareFailed    starting, transient           prepare it again after the next check
//	                 starting, definite            quarantine, stop
//	BootSays         starting, never attached      shown; where no waiting helps: quarantine, stop (console kept)
//	AgentGone        live, no build has ended yet  quarantine, stop; only stop where EC2 recommends to leave (what
//	                                               EC2 or a person ends is Checked first: it stops without)
//	                 live, a build has ended       stop, without a quarantine: its agent was restarted, or crashed
//	                 live, EC2 takes the instance  nothing: it is left to EC2
//	BuildFinished    substantiated                 build_wait_timeout 0 and no other build: stop;
//	                                               any result but RETRY or EXCEPTION resets the quarantine,
//	                                               and counts as a build that has ended, for AgentGone
//	                 any                           EXCEPTION: quarantine, unless it is quarantined already; any
//	                                               other but RETRY ends the quarantine that AgentGone of its
//	                                               generation began before the result was known
//	BuildWithdrawn   substantiated                 nothing: it never ran
//	Interruption     starting, substantiated       no new builds; stop when the last build ends, or at the deadline,
//	                                               where there is one (what EC2 has announced to take back is only
//	                                               let go by the stop: see [Provider])
//	Pause            any                           no new builds and no new generation; what runs goes on.
//	                                               Its end ends a quarantine
//	Retry            any                           end a quarantine; a start or stop that waits is ordered at once
//	Graceful         any                           no new builds; stop when idle, then shut down
//	ShutDownNow      any                           stop, then shut down
//	MasterStops      any                           stop, then shut down until the next master starts
//	StopAccepted     insubstantiating              close the generation
//	StopFailed       insubstantiating              stop again after a back-off, for as long as it takes
//	Resumed          any                           end a quarantine
//	                 starting                      start ordered again if it was in flight, else check;
//	                                               builds that go on count as before; it is wanted
//	                                               until the first Demand says otherwise
//	                 substantiated                 grace time for the worker to come back
//	                 insubstantiating              stop ordered again
//
//	deadline         runs while                    when it passes
//	────────         ──────────                    ──────────────
//	IdleAt           open, no build, not wanted    stop (build_wait_timeout; negative: never)
//	MissingAt        starting, launch accepted     tell people, keep the console output, quarantine, stop
//	CheckAt          starting, or connection lost  ask EC2 how the instance is
//	GraceAt          substantiated, not connected  stop
//	RetryAt          a start or stop failed        order it again
//	TakenAt          an interruption was announced stop
//	QuarantinedUntil not substantiated             start again if wanted
//	                 substantiated                 take builds again
//
// # Quarantine
//
// A generation that could not be brought up or whose agent did not outlive its first
// build, and a build that ended in EXCEPTION, keep their worker from being started and
// from builds for 10 s, doubled by each further one up to an hour, as Buildbot does; the
// reason stays on the worker and on the requests that wait for it. Nobody wants a quarantined worker meanwhile, so
// that an instance that it has is ended when it has been idle for long enough.
//
// The agent of a machine that EC2 or a person ends says that it ends, too, and is not
// to blame: the host asks EC2 first, and posts [Checked] before [AgentGone]. An answer
// that does not come in time is none, and the agent is taken to have ended by itself.
//
// # What always holds
//
// FuzzStep and TestNothingGetsStuck hold: every generation that is opened is
// closed exactly once; no generation is started or stopped while closed; no two
// are open at once; a deadline that has passed is gone after a Tick; demand is
// met or refused with a reason; a worker that is shut down has nothing open.
package latent
