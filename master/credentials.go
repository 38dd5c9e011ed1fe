package master

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// generationSecret is the password that one generation of one worker may use
// instead of the configured one: its number, and a keyed hash of name and
// number. The number makes a stale one recognisable; that nothing has to be
// stored makes it the same after a restart.
func generationSecret(key []byte, worker string, generation int64) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "worker secret\x00%s\x00%d", worker, generation)
	// 160 of the 256 bits are plenty, and give a short line of user data.
	sum := base32.StdEncoding.EncodeToString(mac.Sum(nil)[:20])
	return "g" + strconv.FormatInt(generation, 10) + "." + sum
}

// provenGeneration returns the generation whose secret the password is.
func provenGeneration(key []byte, worker, password string) (int64, bool) {
	number, _, ok := strings.Cut(strings.TrimPrefix(password, "g"), ".")
	if !ok {
		return 0, false
	}
	generation, err := strconv.ParseInt(number, 10, 64)
	if err != nil || generation < 1 {
		return 0, false
	}
	return generation, wire.EqualSecret(password, generationSecret(key, worker, generation))
}

// authenticate decides on a connection by name, password and, where the worker
// is latent, generation: by the generation's own secret, else by the instance
// the agent says it is on, else by there being a live generation at all.
func (m *Master) authenticate(_ context.Context, h wire.Hello) (int64, error) {
	w := m.workers.get(h.Name)
	refused := dormouse.Errorf(dormouse.Unauthorized, "no worker %q with this password is configured", h.Name)
	if w == nil {
		// As much work as for a known name, so that the time tells nothing.
		wire.EqualSecret(h.Password, generationSecret(m.deployment.Key, h.Name, 1))
		return 0, refused
	}
	if w.latent == nil {
		if !wire.EqualSecret(h.Password, w.config.Password) {
			return 0, refused
		}
		return 0, nil
	}
	state := w.latent.State()
	generation, proven := provenGeneration(m.deployment.Key, h.Name, h.Password)
	switch {
	case proven:
	case !wire.EqualSecret(h.Password, w.config.Password):
		return 0, refused
	default:
		generation = state.Generation
		if owner, g, ok := m.fleet.GenerationOf(h.InstanceID); ok {
			if owner != h.Name {
				return 0, dormouse.Errorf(dormouse.Conflict, "instance %s was started for worker %s, not for %s", h.InstanceID, owner, h.Name)
			}
			generation = g
		}
	}
	if generation != state.Generation || !state.Live() {
		return 0, dormouse.Errorf(dormouse.Conflict,
			"generation %d of worker %s is over (the worker is %s, its last generation is %d): this instance is not wanted any more and should end",
			generation, h.Name, state.Phase, state.Generation)
	}
	return generation, nil
}
