// Package pb speaks Twisted's Perspective Broker, version 6, on a master's side:
// Buildbot's older worker protocol is made of its calls. This package knows
// objects, calls and logins, and nothing of builds.
//
// # Layers
//
//	pb/banana   bytes ↔ items: numbers, byte strings, lists
//	jelly       items ↔ values: text, truth, dictionaries, objects, failures
//	Login       a stranger, until its password is right
//	Conn        calls in both directions, objects with their references
//	(above)     what the objects are and do: see The worker's calls
//
// # Values
//
// A value is an item, or a list that begins with a word (quoted is what is not in
// the vocabulary):
//
//	in Go              on the wire
//	int64, *big.Int    the number
//	float64            the number
//	[]byte             the byte string
//	string             ("unicode" UTF-8)
//	nil                (None)
//	bool               ("boolean" "true"), ("boolean" "false")
//	[]any              (list x …)
//	Tuple              (tuple x …)
//	Dict               (dictionary (key value) …)
//	*Local             (remote ID)   an object of the sender's
//	*Remote            (local ID)    the receiver's own, back again
//	*Failure           ("twisted.spread.pb.CopyableFailure" (dictionary …))
//
// (reference N x) is x, and (dereference N) is that x again, later in the same
// message. It is understood, and never sent; nothing can hold itself. Instances of
// any other class are refused.
//
// Workers on Python 3 send text, those on Python 2 byte strings, and some send 0
// and 1 for booleans: [Text], [Truth], [Items] and [Dict.Get] take each form. A
// byte string stays one where bytes are meant, as in the blocks of a file.
//
// # Messages
//
//	(version 6)
//	(message REQUEST OBJECT METHOD WANTED ARGS KEYWORDS)
//	(answer REQUEST VALUE)
//	(error REQUEST FAILURE)
//	(decref OBJECT)
//
// REQUEST counts from 1 in each direction. OBJECT is an ID of the receiver's, or
// the byte string "root". WANTED is 1, or 0 for a call that must not be answered.
// Calls are served in the order in which they come; answers come in any order.
//
// Each (remote ID) counts one, each decref takes one back, and at 0 the owner
// forgets the object. IDs count from 1 on each side of each connection, and are
// not used again.
//
// # Login
//
//	master                                     peer
//	("pb" "none")                      ──────▶            dialects, in dialect none
//	                                   ◀────── "pb"
//	(version 6)                        ──────▶            neither waits for the other's
//	                                   ◀────── (version 6)
//	                                   ◀────── (message 1 "root" login 1 (tuple NAME) (dictionary))
//	(answer 1 (tuple CHALLENGE (remote 1)))  ▶
//	                                   ◀────── (message 2 1 "respond" 1 (tuple RESPONSE (remote MIND)) (dictionary))
//	                                   ◀────── (decref 1)
//	Accept returns; Match, Refuse or Admit
//	(message 1 MIND … )                ──────▶            calls of the layer above
//	(answer 2 (remote AVATAR))         ──────▶            Welcome
//
// RESPONSE is md5(md5(password) + CHALLENGE). So the master must have the password
// or its MD5, and cannot learn from a login which password was meant: it tries
// those that the name may have now ([Login.Match]).
//
// A stock worker has no timeout of its own for the login. It tries again after an
// error UnauthorizedLogin with that class among its parents, and after a closed
// connection; after any other error its process ends. [Login.Refuse] is the first.
// To refuse a peer that is admitted already, close its connection.
//
// # The life of a connection
//
//	Accept ──▶ Login ──Admit──▶ Conn ──▶ Welcome ──▶ Done ──▶ Wait returns
//	   │ 30 s, 4 KiB │ Refuse     │ Watch: signs of life
//	   ▼             ▼            ▼
//	 closed        closed      closed, by either side, or for a message that
//	                           makes no sense
//
// After the end every call returns [ErrConnectionLost]. What ends a connection: an
// item that is none or beyond its limits, an unknown kind of message or one of
// another form, an answer to what was never asked, a reference given back that was
// never given. A call that is understood but makes no sense (an unknown object,
// values that are refused) is answered with an error, and the connection goes on.
//
// # Limits
//
//	before the login   4 KiB in all, 64 items a message, 8 deep, 30 s
//	after it           4 MiB and 262,144 items a message, 32 deep; 2,048 objects
//	                   of the other side; 4 MiB of calls that are not answered
//
// A call takes room from its arrival until its answer is written. Where there is
// none, nothing more is read, and TCP holds the other side back. A stock worker
// does not wait for answers to its updates: it collects in its memory meanwhile.
// Nor are answers to our own calls read then: what is to answer a call must not
// wait for one of ours first.
//
// # The worker's calls
//
// What Buildbot's workers and masters call, for the layer above. The mind has
//
//	print(message), getWorkerInfo(), getVersion(), getCommands(), shutdown()
//	setBuilderList([(name, directory), …]) → {name: builder}
//
// a builder
//
//	startCommand(command, id, name, {argument: value}), interruptCommand(id, why)
//
// the command, an object of the master's that is exported before startCommand is
// sent, since it may be called before that is answered,
//
//	update([[{key: value}, 0], …]), complete(nil or a failure)
//
// the writer and the reader of a transfer, among the arguments of its command,
//
//	write(bytes), close(), utime((atime, mtime)), unpack(); read(length) → bytes, close()
//
// and the avatar
//
//	keepalive(), shutdown()
//
// Never fail a write or a read: a stock worker does not say complete then. Answer,
// and throw away. A command has ended at complete, not at the "rc" of an update.
// 0.8's mind has getSlaveInfo instead of getWorkerInfo, and fails the latter with
// [NoSuchMethod].
package pb
