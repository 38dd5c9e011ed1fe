package listen

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	// freeGuesses of one address at one name cost nothing: a worker that is
	// started again with a mistyped password is told at once.
	freeGuesses = 5
	// guessTime is what each further one takes: 28,800 a day, with which a
	// password of eight random letters takes ten thousand years.
	guessTime = 3 * time.Second
	// brakeSlots is the size of a table. Pairs that share a slot share their
	// guesses.
	brakeSlots = 8192
)

// Brake bounds how often one address may try to guess what belongs to one name.
// It has a fixed size.
type Brake struct {
	seed maphash.Seed
	mu   sync.Mutex
	// until is when a slot has all its guesses again: each moves it on by guessTime. Names that do not exist have a table of their own, since
	// there are as many of them as somebody likes to make up: they brake as real
	// ones do, and have no guess of a real one.
	until, unknown [brakeSlots]time.Time
}

// NewBrake returns a brake that has seen nothing.
func NewBrake() *Brake { return &Brake{seed: maphash.MakeSeed()} }

// Wait returns how long an address (host:port) has to wait before what it says for
// a name counts, 0 where that is now: then what was wrong is one of its guesses.
// While it has to wait nothing is a guess, and what is right counts no more than
// what is wrong, or there would be no brake. known says whether there is that name.
func (b *Brake) Wait(remote, name string, known, right bool) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, slot := time.Now(), b.slot(remote, name, known)
	until := *slot
	if until.Before(now) {
		until = now
	}
	until = until.Add(guessTime)
	if over := until.Sub(now) - freeGuesses*guessTime; over > 0 {
		return over
	}
	if !right {
		*slot = until
	}
	return 0
}

func (b *Brake) slot(remote, name string, known bool) *time.Time {
	i := maphash.String(b.seed, addressOf(remote)+"\x00"+name) % brakeSlots
	if known {
		return &b.until[i]
	}
	return &b.unknown[i]
}
