package config

import (
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Buildbot's defaults for workers.
const (
	defaultMissingTimeout = time.Hour
	defaultLatentMissing  = 20 * time.Minute
	defaultKeepalive      = time.Hour
)

// workerParams are what every kind of worker takes besides name and password.
var workerParams = []param{
	{name: "max_builds"},
	{name: "notify_on_missing"},
	{name: "missing_timeout"},
	{name: "properties"},
	{name: "defaultProperties"},
	{name: "locks"},
	{name: "keepalive_interval"},
	{name: "machine_name", support: later, advice: "use `worker.EC2LatentWorker`, where each worker is a machine"},
}

var _ = register(&class{
	name: "worker.Worker", positional: 10, from: "buildbot.worker", list: "workers",
	params: slices.Concat([]param{{name: "name", support: required}, {name: "password", support: required, secret: true}}, workerParams),
	read: func(a arguments) any {
		return readWorker(a, a.limit("missing_timeout", defaultMissingTimeout, positive))
	},
})

// maxWorkerName is Buildbot's limit.
const maxWorkerName = 50

// workerName is Buildbot's rule. It excludes the colon, which Basic
// authentication would take for the end of the name.
var workerName = regexp.MustCompile(`^[a-zA-Z\x{a0}-\x{10ffff}_-][a-zA-Z0-9\x{a0}-\x{10ffff}_-]*$`)

// readWorker reads what all kinds of workers have in common.
func readWorker(a arguments, missing time.Duration) Worker {
	w := Worker{
		Name:              readWorkerName(a),
		MaxBuilds:         a.count("max_builds", 0),
		MissingTimeout:    missing,
		NotifyOnMissing:   a.mailAddresses("notify_on_missing"),
		KeepaliveInterval: a.limit("keepalive_interval", defaultKeepalive, positive),
		Properties:        a.properties("properties"),
		DefaultProperties: a.properties("defaultProperties"),
		Locks:             readLockAccesses(a),
		Pos:               a.r.pos(a.o.at),
	}
	if f, ok := a.some("notify_on_missing"); ok {
		w.NotifyPos = a.r.pos(f.at)
	}
	if f, ok := a.field("password"); ok {
		w.Password = f.secretText()
	}
	return w
}

// mailAddresses reads addresses, of which a local one may be a name alone.
func (a arguments) mailAddresses(name string) []string {
	f, ok := a.some(name)
	if !ok {
		return nil
	}
	addresses := f.texts()
	for i, address := range addresses {
		full := address
		if !strings.Contains(address, "@") {
			full += "@localhost"
		}
		if parsed, err := mail.ParseAddress(full); err != nil || parsed.Address != full {
			a.r.errorf(f.at.Item(i, len(addresses)), "", "%s must be mail addresses, such as 'ci@example.com', not %s", f.label, quote(address))
		}
	}
	return addresses
}

func readWorkerName(a arguments) string {
	name := a.requiredText("name")
	switch {
	case name == "":
	case slices.Contains([]string{"debug", "change", "status"}, name):
		a.errorf("name", "", "the name %q is reserved", name)
	case !workerName.MatchString(name):
		a.errorf("name", "a name is letters, digits, - and _, and does not begin with a digit", "%s cannot name a worker", quote(name))
	case utf8.RuneCountInString(name) > maxWorkerName:
		a.errorf("name", "", "%s is longer than %d characters", quote(name), maxWorkerName)
	}
	return name
}

// properties reads properties by name. They are stored and shown with each
// build, so no secret may be in them.
func (a arguments) properties(name string) map[string]any {
	props := a.data(name, true)
	if names := secretsIn(props); len(names) > 0 {
		a.errorf(name, "use it in a step's env", "%s cannot hold a secret (%s): properties are shown with the build", name, strings.Join(names, ", "))
	}
	return props
}
