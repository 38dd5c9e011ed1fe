package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

// maxUserData is EC2's limit, in bytes before they are encoded.
const maxUserData = 16 << 10

// cloudInit is the one way to install the agent on an image without it.
const cloudInit = "cloud-init"

// readBootstrap reads how the agent gets onto an instance whose image has none.
func readBootstrap(a arguments) string {
	f, ok := a.some("bootstrap")
	if !ok {
		return ""
	}
	if f.v != starlark.String(cloudInit) {
		f.bad("'" + cloudInit + "' or None")
		return ""
	}
	if a.given("user_data") {
		a.errorf("user_data", "leave one of them out", "user_data cannot stand beside bootstrap, which writes the user data")
	}
	return cloudInit
}

// userDataWords are what %(worker:…)s can name in user data.
var userDataWords = []string{"name", "master", "password", "secret", "generation"}

func readUserData(a arguments) any {
	f, ok := a.some("user_data")
	if !ok {
		return nil
	}
	if s, isText := f.v.(starlark.String); isText {
		if len(s) > maxUserData {
			a.errorf("user_data", "let it fetch the rest", "user_data has %d bytes, and EC2 takes at most %d", len(s), maxUserData)
		}
		return string(s)
	}
	o, isObject := f.v.(*object)
	if !isObject || o.class != interpolateClass {
		f.bad("a string or made by util.Interpolate")
		return nil
	}
	in, ok := a.r.value(o).(*expr.Interpolate)
	if !ok {
		return nil
	}
	for _, selector := range []string{"prop", "src", "secret"} {
		if len(in.Names(selector)) > 0 {
			a.errorf("user_data", "there are %(worker:NAME)s and %(kw:NAME)s", "user_data cannot use %s: it is written when an instance starts, for no build in particular, and whatever runs there can read it", selector)
		}
	}
	if len(secretsIn(in.Arguments())) > 0 {
		a.errorf("user_data", "", "user_data cannot hold a secret: whatever runs on the instance can read it")
	}
	for _, name := range in.Names("worker") {
		if !slices.Contains(userDataWords, name) {
			a.errorf("user_data", dialect.DidYouMean(name, userDataWords), "user_data: there is no %%(worker:%s)s", name)
		}
	}
	return in
}

// bootstraps warns where an instance that installs the agent by itself would
// ask for it, and report to the master, at an address that means the instance.
func (g *global) bootstraps(m *Master) {
	why := unreachable(m)
	if why == "" {
		return
	}
	for _, o := range g.r.objects {
		if w, ok := g.r.value(o).(Worker); ok && g.listed[o] && w.EC2 != nil && w.EC2.Bootstrap != "" {
			a := arguments{g.r, o}
			g.r.warnf(a.at("bootstrap"), "let c['protocols'] listen on all interfaces, and name this machine in c['buildbotURL']",
				"%s: an instance cannot reach the master: %s", o.class.name, why)
		}
	}
}

// unreachable says why workers on other machines cannot reach the master; it
// is empty when they can, as far as the configuration tells.
func unreachable(m *Master) string {
	host, _, _ := net.SplitHostPort(m.Protocols.MsgpackListen)
	addr, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && addr.IsLoopback() {
		return "it awaits workers at " + m.Protocols.MsgpackListen + ", which only this machine can reach"
	}
	if err == nil && !addr.IsUnspecified() {
		return ""
	}
	u, err := url.Parse(m.BuildbotURL)
	if err != nil || u.Hostname() == "" {
		return "c['buildbotURL'] does not say where it is"
	}
	if addr, err := netip.ParseAddr(u.Hostname()); u.Hostname() == "localhost" || err == nil && addr.IsLoopback() {
		return "c['buildbotURL'] is " + m.BuildbotURL + ", which every machine takes for itself"
	}
	return ""
}
