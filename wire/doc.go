// Package wire speaks Buildbot's worker protocol, version 7
// ("msgpack_experimental_v7": MessagePack in WebSocket frames), both sides: a
// [Server] is the master's end, [Dial] the worker's. What follows is enough to
// implement either against a stock peer.
//
// # Connection
//
// The worker connects: HTTP/1.1, GET /, a WebSocket upgrade (RFC 6455, no
// subprotocol, no compression), with
//
//	Authorization: Basic base64(name:password)
//
// The name has no colon. A master that refuses answers with a status instead
// of the upgrade; a stock worker tries again whatever it is, ours looks at it:
//
//	400  the Authorization header is malformed
//	401  unknown name or wrong password          → dormouse.Unauthorized
//	409  the generation is over: end the machine → dormouse.Conflict
//	503  not now; try again (also: this worker   → dormouse.Unavailable
//	     is connected already)
//	429  too many wrong passwords; try again     → dormouse.Unavailable
//	500  the master failed; its log says why     → dormouse.Unavailable
//
// A stock master knows 400 and 401 only. The body of each says why, in one
// line. 429 is of a master whose Authenticate bounds guesses: no password is
// compared then, right or wrong.
//
// # Frames
//
// Each binary WebSocket message is one MessagePack map with text keys. Both
// sides make requests at any time, any number at once:
//
//	{"op": …, "seq_number": n, …}
//
// and each request is answered once, in any order, by
//
//	{"op": "response", "seq_number": n, "result": …}
//	{"op": "response", "seq_number": n, "result": "why not", "is_exception": true}
//
// Sequence numbers count from 0 in each direction on its own. Text and bytes
// are different types (MessagePack's str and bin): file contents are bytes, all
// else is text. A stock peer drops the connection over text that is not UTF-8,
// so none is sent; what comes in is repaired with U+FFFD. Frames exceed 32 KiB
// as a matter of course; here they may have [MaxFrame] bytes.
//
// A stream that cannot be understood is closed with a reason: a text message
// (1003), bytes that are not a MessagePack map, nest too deep, hold too much or
// have no integer seq_number (1007), a response to what was never asked (1002),
// a message beyond MaxFrame (1009). A request that is understood but makes no
// sense (an unknown op or command_id, a missing key) gets an exception, and the
// connection goes on.
//
// # Requests of the master
//
//	get_worker_info                             → a map, see Info
//	set_worker_settings  args {newline_re, max_line_length, buffer_size, buffer_timeout}
//	start_command        command_id, command_name, args, builder_name
//	interrupt_command    command_id, why, builder_name
//	print                message
//	keepalive
//	shutdown             the worker's process ends
//
// The master asks get_worker_info first. Then, as Buildbot does, it sets the
// settings, lists the base directory with a listdir command, and makes the
// builders' directories that are missing with mkdir ([Worker.SetBuilders]).
//
// start_command is answered once the command is accepted; the command then
// lives under its command_id, a text the master chose, until the worker says
// complete. Arguments of the commands used here:
//
//	shell           command (text or list), workdir, env, want_stdout, want_stderr,
//	                logfiles {name: filename or {filename, follow}}, timeout, maxTime, max_lines,
//	                sigtermTime, interruptSignal, initial_stdin, usePTY, logEnviron
//	listdir, stat, glob, rmfile   path
//	mkdir, rmdir    paths
//	cpdir           from_path, to_path, timeout, maxTime, logEnviron
//	upload_file     path, blocksize, maxsize, keepstamp
//	upload_directory  path, blocksize, maxsize, compress (null, gz or bz2)
//	download_file   path, blocksize, maxsize, mode
//
// All paths are absolute, on the worker; [Worker.Path] makes them. A log file's
// name is relative to workdir. max_lines is of newer masters than 3.7.
//
// Our agent writes what it downloads, and copies, below its base directory only.
// A name that is not UTF-8 comes in "files" with U+FFFD for what is not, and so
// cannot be asked for; in an archive it is as it is.
//
// # Requests of the worker
//
// Each names its command by command_id:
//
//	update                         args [[key, value], …]
//	complete                       args null, or text: why the command failed as such
//	update_upload_file_write       args bytes
//	update_upload_file_close
//	update_upload_file_utime       access_time, modified_time (seconds since 1970)
//	update_read_file               length → bytes, none at the end
//	update_read_file_close
//	update_upload_directory_write  args bytes of a tar archive
//	update_upload_directory_unpack
//
// The keys of an update: "rc" (the exit code; each command ends with one),
// "stdout", "stderr", "header" (output), "log" (value [log name, output]),
// "elapsed" (seconds), "files" (of listdir and glob), "stat" (ten numbers),
// "failure_reason" ("timeout", "timeout_without_output", "max_lines_failure").
//
// A transfer that fails says why in "stderr", and its rc is 1. Our agent closes
// a file, and unpacks a directory, only where the master has all it is meant to
// have: of a file, that is its beginning where maxsize cuts it. A stock worker
// does so in any case. A stock master of 3.7 answers each update_read_file with
// null, and refuses each update_upload_file_utime: nothing can be downloaded
// from it, and no times are kept.
//
// Output is a list of three:
//
//	["one\ntwo\n", [3, 7], [1700000000.25, 1700000000.5]]
//
// the text, whole lines only; the position of each newline in it, counted in
// characters (not bytes); and the time at which each line began to arrive,
// seconds since 1970. The worker has turned what newline_re matches into
// newlines and split lines over max_line_length. Decoding trusts the text: it
// is cut at its newlines, the positions are ignored, and a line without a
// usable time gets the one before it (the stock worker sends fewer times than
// lines after it has split one).
//
// # Acknowledgement and back-pressure
//
// The response to an update is its acknowledgement. Our master answers when the
// function given to [Worker.Start] has returned, which is when the output is
// durable; updates of one command are handled in order, one at a time, and
// complete after them. A stock worker does not wait for acknowledgements, so
// that alone would not hold it back: beyond a bound the master stops reading
// from the connection, and TCP does. Nothing but output can be in the way of
// anything then: neither side's reader ever waits for its writer. The price is
// that answers, to an interruption for example, come behind the output that
// was sent before them.
//
// # A second connection
//
// A name has one place. When a connection with a right password comes in for a
// worker that is connected:
//
//	generation                       what happens
//	both known, the new one higher   the old is dropped at once
//	both known, the new one lower    409
//	else                             the old is sent a keepalive:
//	  anything comes from it           503
//	  silent for PingTimeout (10 s)    the old is dropped, the new one accepted
//
// The check goes on when the newcomer loses patience (a stock worker does after
// five seconds), so that its next try gets in. A worker whose output the master
// itself holds back counts as answering. The new one attaches only after
// Detached has returned for the old.
//
// # The life of a connection at the master
//
//	handshake ── Authenticate ── upgrade ── get_worker_info ── Attach ── in use ── end ── Detached
//	                 │ refused                   │ 30 s            │ error
//	                 ▼                           ▼                 ▼
//	              status                       close             close with that reason
//
// After the end, what had arrived is still given to the commands' functions;
// then their [Running.Wait] returns [ErrConnectionLost].
//
// # What is ours
//
// Our agent sends more headers, which a stock master does not see:
//
//	Dormouse-Instance: i-0123456789abcdef0
//	Dormouse-Extensions: resume, interruption, literals, groups, ping
//
//	Dormouse-Session: 7K3QZ…
//	Dormouse-Secret-SHA256: 9f86d0…
//	Dormouse-Machine: mKRSXG5A…
//
// Our master answers the second with those that it can too, and they are in
// force on this connection. A frame that a stock peer would not know is sent
// only where an extension says so. The session names the agent's process. The
// last commits the agent to a secret of its own, which takes the place of the
// launch's from the first attachment on. Our master answers with a token in the
// header Dormouse-Machine, which the agent keeps on its disk; a later process of the
// same machine shows it, and thereby proves that the earlier one has ended, however
// it did. That one may have said so itself: an agent whose process ends closes the
// connection with status 4001. Neither is waited for then.
// Our master answers a worker's own keepalive;
// a stock one refuses it, which proves as much.
//
// # Literals
//
// A worker replaces ${NAME} in the values of a command's env by its own variables.
// With this extension "$\x00{" in such a value is a ${ that stays, so that a
// secret or a property with ${ in it arrives as it is. For a worker without it
// a shell does that ([Literal], [EscapedLiteral]).
//
// # Signs of life
//
// With the extension ping each side sends, every [PingInterval] in which it has
// nothing else to send,
//
//	ping
//
// which is the one request without an answer. A side that reads nothing for ten
// seconds more ends the connection, unless it is itself what does not read.
//
// # Groups
//
// With this extension the master says that a group (see Resume) is over:
//
//	end_group  group → the names of the processes that there were
//
// The agent ends what is left of its commands, and what these have left behind,
// and answers then.
//
// # Interruptions
//
// With this extension the agent tells, once on each connection, what the
// metadata of a spot instance say of its end:
//
//	interruption  rebalance (bool), at (seconds since 1970), left (seconds)
//
// What is left until at is by the agent's clock, and negative once that has passed.
// The master goes by it, as its own clock may be another, and by at where an agent
// of an earlier Dormouse tells no more.
//
// # Resume
//
// With this extension a command that was started with one more key,
//
//	start_command  …, resume: "group"
//
// outlives its connection: while there is none, it goes on, and what it says is
// kept by the agent. Its command_id is unique within the session, and each of
// its updates carries "first": how many lines and values it had said before. The
// master counts the same, and stores the count with the lines, so that what it
// has acknowledged is stored, and what is sent twice is noticed:
//
//	agent                                            master
//	update first=0  (3 lines)  ────────────────────▶ stored: 3
//	                           ◀──────────────────── response
//	update first=3  (2 lines)  ──────▶ ✗ connection, or master, gone
//	       (4 lines more are kept)
//	upgrade, the same session  ────────────────────▶
//	                           ◀──────────────────── keep_commands groups: ["…"]
//	response                   ────────────────────▶ all others have ended
//	                           ◀──────────────────── resume_command command_id, position: 3
//	update first=3  (2 lines)  ────────────────────▶
//	response true              ────────────────────▶
//	update first=5  (4 lines)  ────────────────────▶ stored: 9
//
// keep_commands is the first request after get_worker_info on every connection.
// resume_command is answered false if the agent has no such command: the order
// to start it never came. complete is acknowledged when it is stored, and the
// agent forgets the command then. An update that begins beyond what the master
// has, or that is none, ends its command with [ErrMissing]; this agent says then
// that the command failed, to a master that does not know. A session that is not known any more (an agent
// that was started again) has no commands: their processes are lost to it.
package wire
