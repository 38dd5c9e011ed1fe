package pb

import (
	"crypto/md5"
	"crypto/subtle"
)

// challengeSize is how many random bytes a login has to answer for, as in
// Twisted.
const challengeSize = 16

// Digest is the MD5 of a password, which is all that a login is compared with.
// It opens as much as the password does: keep it as secret.
type Digest [md5.Size]byte

// DigestOf returns the digest of a password.
func DigestOf(password string) Digest { return md5.Sum([]byte(password)) }

// respond is what a peer that knows the password answers to a challenge.
func (d Digest) respond(challenge []byte) [md5.Size]byte {
	return md5.Sum(append(d[:len(d):len(d)], challenge...))
}

// match returns the first of the candidates that gives this response, or -1. It
// compares with each, and with one where there are none, so that its time tells
// nothing of which it was.
func match(challenge, response []byte, candidates []Digest) int {
	found := -1
	if len(candidates) == 0 {
		_ = compare(Digest{}, challenge, response)
	}
	for i, c := range candidates {
		first := compare(c, challenge, response) & subtle.ConstantTimeEq(int32(found), -1)
		found = subtle.ConstantTimeSelect(first, i, found)
	}
	return found
}

func compare(d Digest, challenge, response []byte) int {
	want := d.respond(challenge)
	return subtle.ConstantTimeCompare(want[:], response)
}
