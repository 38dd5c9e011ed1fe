// Package banana is the byte layer of Twisted's Perspective Broker: it turns a
// stream of bytes into items, and items into bytes. Package pb gives them a
// meaning.
//
// An item is a prefix of 0 to 64 bytes below 0x80, which is a number n in base
// 128 with the least significant digit first (no byte at all is 0), then a type
// byte, then perhaps content:
//
//	type            n is                        content         in Go
//	0x80 LIST       how many items              n items         []any
//	0x81 INT        the value, 0 … 2³¹-1                        int64
//	0x82 STRING     its length, up to 655360    n bytes         []byte
//	0x83 NEG        minus the value, -2³¹ … -1                  int64
//	0x84 FLOAT      –                           8 bytes         float64
//	0x85 LONGINT    the value, from 2³¹                         int64, *big.Int
//	0x86 LONGNEG    minus the value, below -2³¹                 int64, *big.Int
//	0x87 VOCAB      the number of a word                        []byte
//
// A float is an IEEE 754 double, the most significant byte first. Integers have
// up to 448 bits; those that an int64 holds are one. There is no text, no truth
// value and no null.
//
// In dialect pb a byte string that is one of 31 words is sent as VOCAB, wherever
// it stands: output of a build that is just "error" too. Dialect none has no VOCAB.
//
// There is one canonical form of each item, which an [Encoder] writes: the
// shortest prefix, but one byte for 0; the type that the value's range has; VOCAB
// for a word. A [Decoder] takes every other form too.
//
// # Strangers
//
// A Decoder reads bytes that anyone may have sent. It never panics, keeps no
// more than a constant times what has arrived, and does not recurse. What an
// item announces (its length, how many items) is compared with [Limits] before
// anything is read or allocated for it.
package banana
