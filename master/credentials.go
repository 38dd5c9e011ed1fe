package master

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/wire"
)

// The secrets that a launch may put into its machines' user data, to attach
// with. Both name what they are for in the clear, which makes a stale one
// recognisable, and prove it by a keyed hash: nothing has to be stored, so they
// are the same after a restart.

// generationSecret is the password that one generation of one worker may use
// instead of the configured one.
func generationSecret(key []byte, worker string, generation int64) string {
	number := strconv.FormatInt(generation, 10)
	return "g" + number + "." + proof(key, "generation", worker, number)
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

// launchSecret is the password of the machines that one launch started, which
// learn which worker each of them is when they attach.
func launchSecret(key []byte, launch string) string {
	return "l" + launch + "." + proof(key, "launch", launch)
}

// provenLaunch returns the launch whose secret the password is.
func provenLaunch(key []byte, password string) (string, bool) {
	launch, _, ok := strings.Cut(strings.TrimPrefix(password, "l"), ".")
	return launch, ok && wire.EqualSecret(password, launchSecret(key, launch))
}

// machineToken is what an agent keeps on its machine for the one that is started there
// after it: it proves that what comes with it is of that machine, and nothing else. A
// launch's secret does not, which the machines of a launch share.
func machineToken(key []byte, worker string, generation int64) string {
	return "m" + proof(key, "machine", worker, strconv.FormatInt(generation, 10))
}

func proof(key []byte, parts ...string) string {
	mac := hmac.New(sha256.New, key)
	for _, p := range parts {
		mac.Write([]byte(p + "\x00")) // none of them holds a NUL
	}
	// 160 of the 256 bits are plenty, and give a short line of user data.
	return base32.StdEncoding.EncodeToString(mac.Sum(nil)[:20])
}

// authenticate decides on a connection, and binds an agent to its secret.
//
// What a launch puts into user data can be read by every build on the machine.
// So it is good for one attachment: with that our agent commits to a secret of
// its own, which only its process knows, and which is its password from then
// on. Whoever comes with the launch's secret afterwards, and without that
// commitment, is refused, and it is said: also an agent that died before the token of
// its machine was on the disk. Its generation ends when nobody has come back in the
// grace time or, before its first attachment, when missing_timeout has passed.
func (m *Master) authenticate(ctx context.Context, h wire.Hello) (wire.Identity, error) {
	if !m.leased() {
		// What is said of a generation may power its machine off.
		return wire.Identity{}, errNotInCharge
	}
	id, err := m.admit(ctx, h)
	if dormouse.CodeOf(err) == dormouse.Conflict {
		err = m.turnAway(cmp.Or(id.Name, h.Name), id.Generation, h.InstanceID, err)
	}
	return id, err
}

// turnAway has the instance of a worker ended that is refused for good, unless the
// worker's host is at it. One that is left to EC2 is only told to wait: told that it
// is of no more use, it would end itself, and be paid for.
func (m *Master) turnAway(name string, generation int64, instanceID string, why error) error {
	if at, left := m.fleet.LeftToEC2(instanceID, name); left {
		return dormouse.Errorf(dormouse.Unavailable, "EC2 takes this instance back at %s: it gets no more builds", at.Format("15:04:05"))
	}
	m.hunt(name, generation, instanceID)
	return why
}

// hunt has an instance looked for that is of no more use, and ended.
func (m *Master) hunt(name string, generation int64, instanceID string) {
	w := m.hosted(name)
	if w != nil && w.latent != nil {
		if s := w.latent.State(); s.Open && s.Generation == generation {
			return
		}
	}
	if w == nil {
		name = "" // agents name themselves after their instance until they have enrolled
	}
	m.fleet.TurnedAway(instanceID, name)
}

// admit is authenticate without what follows from a refusal.
func (m *Master) admit(ctx context.Context, h wire.Hello) (wire.Identity, error) {
	id, once, err := m.identify(ctx, h)
	if err != nil {
		return id, err
	}
	name := cmp.Or(id.Name, h.Name)
	if h.SecretHash != "" && id.Generation != 0 {
		id.Machine = machineToken(m.deployment.Key, name, id.Generation)
	}
	if !once {
		return id, nil
	}
	var bound string
	if h.SecretHash == "" { // a stock worker
		bound, err = m.db.BoundSecret(ctx, name, id.Generation)
	} else {
		bound, err = m.owner.BindSecret(ctx, name, id.Generation, h.SecretHash)
	}
	switch {
	case err != nil:
		return wire.Identity{}, dormouse.Errorf(dormouse.Unavailable, "the worker's secret cannot be looked up now: try again: %w", err)
	case bound != h.SecretHash && m.provenMachine(h, name, id.Generation):
		m.agentGone(name, id.Generation, h)
		return id, dormouse.Errorf(dormouse.Conflict,
			"the agent of generation %d of worker %s was started again: what ran there is lost, and the machine is replaced", id.Generation, name)
	case bound != h.SecretHash:
		m.alarm(name, id.Generation, h)
		return wire.Identity{}, dormouse.Errorf(dormouse.Conflict,
			"the secret that generation %d of worker %s was launched with has been used before: it is good for one agent process", id.Generation, name)
	}
	id.SecretBound = bound != ""
	return id, nil
}

// provenMachine reports whether it is another process of a generation's own machine that
// knocks with what the launch gave to it: the agent was started again, and nothing was
// stolen. Only the token proves that, which the process before it has kept on the disk.
// The secret and the instance's id prove nothing, also where no other machine was given
// them: every build can read both, and may have told anybody.
func (m *Master) provenMachine(h wire.Hello, worker string, generation int64) bool {
	return h.SecretHash != "" && h.Session != "" && // our agent
		wire.EqualSecret(h.Machine, machineToken(m.deployment.Key, worker, generation))
}

// alarm says that a launch's secret was used by somebody else, once for each
// generation: who tries once tries again.
func (m *Master) alarm(worker string, generation int64, h wire.Hello) {
	if w := m.hosted(worker); w != nil && w.alarmed.Swap(generation) == generation {
		return
	}
	m.metrics.secretsReused.Inc()
	m.refusals.Error("the secret of a launch was used a second time: a build may have read it from the machine's user data",
		"worker", worker, "generation", generation, "instance", h.InstanceID, "remote", h.RemoteAddr)
}

// identify says whose a connection is: by a launch's secret and the instance it
// comes from; by name and a generation's secret; by the secret an agent is bound
// to; or by name and password, and then, where the worker is latent, by the
// instance the agent says it is on, or else by there being a live generation at
// all. once says that it came with what its launch gave it.
func (m *Master) identify(ctx context.Context, h wire.Hello) (id wire.Identity, once bool, err error) {
	refused := dormouse.Errorf(dormouse.Unauthorized, "no worker %q with this password is configured", h.Name)
	w := m.hosted(h.Name)
	if w == nil {
		// As much work for any name, so that the time tells nothing.
		launch, proven := provenLaunch(m.deployment.Key, h.Password)
		if _, ours := provenGeneration(m.deployment.Key, h.Name, h.Password); ours {
			m.fleet.TurnedAway(h.InstanceID, h.Name) // its worker has left the configuration
			return id, false, dormouse.Errorf(dormouse.Conflict, "worker %s is not configured any more: this instance should end", h.Name)
		}
		switch {
		case h.Name != h.InstanceID:
			return id, false, m.guess(h, "", false, refused)
		case proven:
			id, err = m.enrol(h, launch)
			return id, true, err
		}
		row, ok := m.fleet.Lookup(h.InstanceID)
		if !ok || !m.bound(ctx, h.Password, row.Worker, row.Generation) {
			return id, false, m.guess(h, "", false, refused)
		}
		id, err = m.enrol(h, row.Launch)
		return id, false, err
	}
	if w.latent == nil {
		return id, false, m.guess(h, w.defined().config.Password, true, refused)
	}
	state := w.latent.State()
	generation, proven := provenGeneration(m.deployment.Key, h.Name, h.Password)
	if !proven {
		generation = state.Generation
		row, known := m.fleet.Lookup(h.InstanceID)
		if known && row.Worker == h.Name {
			generation = row.Generation
		}
		bound := m.bound(ctx, h.Password, h.Name, generation)
		if !bound {
			err = m.guess(h, w.defined().config.Password, true, refused)
		}
		switch {
		case bound:
		case err != nil:
			return id, false, err
		case known && row.Worker != h.Name:
			return id, false, dormouse.Errorf(dormouse.Conflict, "instance %s was started for worker %s, not for %s", h.InstanceID, row.Worker, h.Name)
		case !known && h.InstanceID != "" && state.InstanceID != "":
			return id, false, dormouse.Errorf(dormouse.Conflict,
				"instance %s is not wanted any more and should end: generation %d of worker %s has instance %s", h.InstanceID, generation, h.Name, state.InstanceID)
		}
	}
	id.Generation = generation
	return id, proven, current(h.Name, generation, state)
}

// guess compares a password with the one that is configured. Where too many that
// were wrong have come for this name from this address, it does not say how that
// went.
// The secrets that the master or an agent has made do not come here: nobody
// guesses 160 bits, and so nobody can keep their machines out by trying.
func (m *Master) guess(h wire.Hello, password string, known bool, refused error) error {
	right := wire.EqualSecret(h.Password, password) && known
	if wait := m.brake.Wait(h.RemoteAddr, h.Name, known, right); wait > 0 {
		return dormouse.Errorf(dormouse.Throttled, "too many wrong passwords for worker %q have come from this address: try again in %v", h.Name, wait.Round(time.Second))
	}
	if !right {
		return refused
	}
	return nil
}

// bound reports whether a password is the secret that a generation's agent is
// bound to.
func (m *Master) bound(ctx context.Context, password, worker string, generation int64) bool {
	hash, err := m.db.BoundSecret(ctx, worker, generation)
	if err != nil {
		m.log.Warn("the secret that an agent is bound to cannot be read", "worker", worker, "generation", generation, "error", err)
	}
	sum := sha256.Sum256([]byte(password))
	return hash != "" && wire.EqualSecret(hash, hex.EncodeToString(sum[:]))
}

// enrol says which worker a machine is whose launch could not tell it.
func (m *Master) enrol(h wire.Hello, launch string) (wire.Identity, error) {
	row, ok := m.fleet.Lookup(h.InstanceID)
	switch {
	case !ok && m.fleet.Awaits(launch):
		// Quicker than EC2's answer: it is not known yet whose it is.
		return wire.Identity{}, dormouse.Errorf(dormouse.Unavailable, "the launch of instance %s has no answer yet: try again in a moment", h.InstanceID)
	case !ok:
		return wire.Identity{}, dormouse.Errorf(dormouse.Conflict, "instance %s is not wanted any more and should end", h.InstanceID)
	case row.Launch != launch:
		return wire.Identity{}, dormouse.Errorf(dormouse.Unauthorized, "instance %s was not started by the launch whose secret this is", h.InstanceID)
	}
	w := m.hosted(row.Worker)
	if w == nil || w.latent == nil {
		return wire.Identity{}, dormouse.Errorf(dormouse.Conflict, "instance %s was started for worker %s, which is not configured any more: it should end", h.InstanceID, row.Worker)
	}
	return wire.Identity{Name: row.Worker, Generation: row.Generation}, current(row.Worker, row.Generation, w.latent.State())
}

// current refuses what is not of a worker's live generation.
func current(name string, generation int64, state latent.State) error {
	if generation == state.Generation && state.Live() {
		return nil
	}
	return dormouse.Errorf(dormouse.Conflict,
		"generation %d of worker %s is over (the worker is %s, its last generation is %d): this instance is not wanted any more and should end",
		generation, name, state.Phase, state.Generation)
}
