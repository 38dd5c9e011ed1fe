package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
)

// The names of the dictionary that a configuration fills.
const (
	configName  = "BuildmasterConfig"
	configShort = "c"
)

// keys are those of the configuration's dictionary, and what becomes of each.
var keys = func() map[string]param {
	keys := make(map[string]param)
	for s, words := range map[support]string{
		supported: "title titleURL projectName projectURL buildbotURL protocols www db db_url collapseRequests maxRetries properties workers builders schedulers budget ec2_rates services",
		ignored: `buildbotNetUsageData caches buildCacheSize changeCacheSize changeHorizon logCompressionLimit logCompressionMethod
			logEncoding logMaxSize logMaxTailSize metrics mq validation`,
	} {
		for w := range wordSet(words) {
			keys[w] = param{name: w, support: s}
		}
	}
	for w, advice := range map[string]string{
		"change_source":      "use `dormouse force BUILDER --branch … --revision …` in the repository's hook or from cron, or the REST API",
		"codebaseGenerator":  "use `--codebase` of `dormouse force`",
		"configurators":      "use functions that fill the lists",
		"machines":           "use `worker.EC2LatentWorker`, where each worker is a machine",
		"manhole":            "use `dormouse why`, `dormouse workers`, `dormouse instances` and the REST API",
		"multiMaster":        "use one master for each database; a second one is refused while the first is in charge",
		"prioritizeBuilders": "use `priority` of a request, or `nextBuild` of a builder",
		"revlink":            "use the revision in `got_revision`",
		"secretsProviders":   "use `util.Secret` with the directory `secrets` beside the configuration, one file each, or the environment's `DORMOUSE_SECRET_NAME`",
		"user_managers":      "use the API's token",
	} {
		keys[w] = param{name: w, support: later, advice: advice}
	}
	return keys
}()

// master reads the whole configuration. What it returns is of use only when no
// mistake was found.
func (r *reader) master(globals starlark.StringDict) *Master {
	m := &Master{File: r.file, BaseDir: r.opts.BaseDir, Secrets: r.secrets, Title: "Dormouse"}
	v, ok := globals[configName]
	if !ok {
		r.errorf(dialect.Place{Line: 1, Col: 1}, "begin the file with c = BuildmasterConfig = {}", "%s is not defined", configName)
		return m
	}
	c, ok := v.(*starlark.Dict)
	if !ok {
		field{r, configName, v, r.program.Dictionary(), false}.bad("a dictionary")
		return m
	}
	for _, o := range r.objects {
		r.value(o)
	}
	g := global{r: r, c: c}
	g.checkKeys()
	m.Title = g.text("title", "projectName", m.Title)
	m.TitleURL = g.url("titleURL", "projectURL")
	if m.BuildbotURL = g.url("buildbotURL", ""); m.BuildbotURL != "" && !strings.HasSuffix(m.BuildbotURL, "/") {
		m.BuildbotURL += "/"
	}
	m.CollapseRequests = true
	if f, ok := g.some("collapseRequests"); ok {
		v, by := f.collapse()
		if v != nil {
			m.CollapseRequests = *v
		}
		g.collapseBy = by
	}
	m.MaxRetries = defaultRetries
	if f, ok := g.some("maxRetries"); ok {
		if n := f.retries(); n != nil {
			m.MaxRetries = *n
		}
	}
	if f, ok := g.some("properties"); ok {
		names, values := f.pairs()
		m.Properties = make(map[string]any, len(names))
		for _, name := range names {
			m.Properties[name], _ = values[name].data(false)
		}
	}
	m.Budget = g.budget()
	m.EC2Rates = g.rates()
	m.WWW = g.www()
	m.DB = g.db()
	g.workers(m)
	m.Protocols = g.protocols(len(m.Workers) > 0)
	g.samePort(m)
	g.bootstraps(m)
	g.builders(m)
	g.schedulers(m)
	g.services(m)
	g.unused()
	g.misspelt(m)
	return m
}

// global reads the keys of the configuration's dictionary.
type global struct {
	r *reader
	c *starlark.Dict
	// collapseBy is c['collapseRequests'] where that is a function.
	collapseBy func(builder string) func(newer, older dormouse.BuildRequest) (bool, error)
	// listed are the objects that stand in one of its lists.
	listed map[*object]bool
}

// at is where a key's value stands; path has slashes between nested keys.
func (g *global) at(path string) dialect.Place {
	if _, value, ok := g.r.program.Assigned(path); ok {
		return value
	}
	if outer, _, nested := cutLast(path, "/"); nested {
		return g.at(outer)
	}
	return g.r.program.Dictionary()
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (g *global) keyAt(path string) dialect.Place {
	if at, _, ok := g.r.program.Assigned(path); ok {
		return at
	}
	return g.at(path)
}

// some is a key's value when it is there and not None.
func (g *global) some(key string) (field, bool) {
	v, ok, _ := g.c.Get(starlark.String(key)) // a string can always be looked up
	if !ok || v == starlark.None {
		return field{}, false
	}
	return field{g.r, "c['" + key + "']", v, g.at(key), false}, true
}

// pairs reads a dictionary below a key, where each value may have been
// assigned by a statement of its own.
func (g *global) pairs(key string) ([]string, map[string]field) {
	f, ok := g.some(key)
	if !ok {
		return nil, nil
	}
	names, values := f.pairs()
	for _, name := range names {
		v := values[name]
		v.label = f.label + "['" + name + "']"
		if _, value, ok := g.r.program.Assigned(key + "/" + name); ok {
			v.at = value
		}
		values[name] = v
	}
	return names, values
}

func (g *global) checkKeys() {
	for _, k := range g.c.Keys() {
		name, ok := k.(starlark.String)
		if !ok {
			field{g.r, "a key of " + configName, k, g.r.program.Dictionary(), false}.bad("a string")
			continue
		}
		key := string(name)
		p, known := keys[key]
		f, some := g.some(key)
		switch {
		case !known:
			g.r.errorf(g.keyAt(key), dialect.DidYouMean(key, sortedKeys(keys)), "there is no c['%s']", shorten(key))
		case !some || meansNone(f.v):
		case p.support == ignored && key != "buildbotNetUsageData": // nothing is ever sent to anybody
			g.r.warnf(g.keyAt(key), "", "c['%s'] is not supported yet and changes nothing", key)
		case p.support == later:
			g.r.errorf(g.keyAt(key), "", "c['%s'] is not supported yet", key)
		}
	}
}

// text reads a string under a key or under its older name.
func (g *global) text(key, older, def string) string {
	for _, k := range []string{key, older} {
		if f, ok := g.some(k); ok {
			if s, ok := f.text(); ok {
				return s
			}
		}
	}
	return def
}

func (g *global) url(key, older string) string {
	for _, k := range []string{key, older} {
		f, ok := g.some(k)
		if !ok {
			continue
		}
		s, ok := f.v.(starlark.String)
		u, err := url.Parse(string(s))
		if !ok || err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			f.bad("an http or https URL")
		}
		return string(s)
	}
	return ""
}

// wwwKeys are Buildbot's; all but the port are about its own web pages.
var wwwKeys = wordSet(`allowed_origins auth authz avatar_methods change_hook_auth change_hook_dialects cookie_expiration_time
	custom_templates_dir debug default_page json_cache_seconds jsonp logRotateLength logfileName maxRotatedFiles plugins port
	rest_minimum_version ui_default_config versions ws_ping_interval graphql tls_certificate tls_key`)

func (g *global) www() (w WWW) {
	names, values := g.pairs("www")
	for _, name := range names {
		v := values[name]
		switch {
		case name == "port" && v.v != starlark.None:
			w.Listen, w.TLS = v.listen("127.0.0.1")
		case tlsKeys[name]:
		case !wwwKeys[name]:
			g.r.errorf(g.nestedKey("www", name), dialect.DidYouMean(name, sortedKeys(wwwKeys)), "c['www'] has no key %s", quote(name))
		case name != "port" && !meansNone(v.v):
			g.r.warnf(g.nestedKey("www", name), "", "%s is not supported yet and changes nothing", v.label)
		}
	}
	g.encrypted(values, w.Listen, &w.TLS, "the API's token and all that it is asked and answers")
	return w
}

func (g *global) nestedKey(key, name string) dialect.Place {
	if at, _, ok := g.r.program.Assigned(key + "/" + name); ok {
		return at
	}
	at, _ := g.at(key).Entry(name)
	return at
}

// msgpack is Buildbot's name of the protocol that workers speak.
const msgpack = "msgpack_experimental_v7"

// defaultMsgpack is where workers are awaited when c['protocols'] does not say.
const defaultMsgpack = "127.0.0.1:9989"

func (g *global) protocols(haveWorkers bool) (p Protocols) {
	names, values := g.pairs("protocols")
	var others []string
	for _, name := range names {
		switch name {
		case msgpack:
			g.msgpack(&p, values[name])
		case "pb", "null", "wamp":
			others = append(others, name)
		default:
			g.r.errorf(g.nestedKey("protocols", name), dialect.DidYouMean(name, []string{msgpack}), "there is no protocol %s", quote(name))
		}
	}
	_, given := g.some("protocols")
	_, spoken := values[msgpack]
	hint := "write c['protocols'] = {'" + msgpack + "': {'port': 9989}}, and start workers with --protocol=" + msgpack
	for _, name := range others {
		if p.MsgpackListen == "" {
			g.r.errorf(g.nestedKey("protocols", name), hint, "the protocol %s is not spoken here", quote(name))
		} else {
			g.r.warnf(g.nestedKey("protocols", name), "", "the protocol %s is not spoken here and is left out", quote(name))
		}
	}
	if !given {
		p.MsgpackListen = defaultMsgpack
		if haveWorkers {
			g.r.warnf(g.keyAt("workers"), hint, "workers can attach from this machine only, at %s", defaultMsgpack)
		}
	} else if !spoken && len(others) == 0 && haveWorkers {
		g.r.errorf(g.at("protocols"), hint, "workers are configured, but no port for them in c['protocols']")
	}
	return p
}

// msgpack reads where and how workers are awaited.
func (g *global) msgpack(p *Protocols, f field) {
	const allowed = "a dictionary with the key 'port'"
	if _, ok := f.v.(*starlark.Dict); !ok {
		f.bad(allowed)
		return
	}
	names, values := f.pairs()
	for _, key := range names {
		v := values[key]
		v.label = f.label + "['" + key + "']"
		if _, value, ok := g.r.program.Assigned("protocols/" + msgpack + "/" + key); ok {
			v.at = value
		}
		values[key] = v
		switch {
		case key == "port":
			p.MsgpackListen, p.TLS = v.listen("0.0.0.0")
		case key == "tls_ca":
			p.CA = g.caFile(v)
		case !tlsKeys[key]:
			known := append(sortedKeys(tlsKeys), "port", "tls_ca")
			g.r.errorf(f.keyAt(key), dialect.DidYouMean(key, known), "%s has no key %s", f.label, quote(key))
		}
	}
	if _, ok := values["port"]; !ok {
		f.bad(allowed)
	}
	g.encrypted(values, p.MsgpackListen, &p.TLS, "workers' passwords and all that builds print")
}

// samePort refuses one address for two services.
func (g *global) samePort(m *Master) {
	_, port, _ := cutLast(m.WWW.Listen, ":")
	_, other, _ := cutLast(m.Protocols.MsgpackListen, ":")
	if port != "" && port == other && port != "0" {
		g.r.errorf(g.nestedKey("www", "port"), "", "c['www'] and c['protocols'] use the same port, %s", port)
	}
}

// defaultDB is a file beside the configuration.
const defaultDB = "sqlite:///dormouse.sqlite"

// db reads where state is kept. The URL is never shown: it may hold a password.
func (g *global) db() DB {
	f, ok := g.some("db_url")
	if g.has("db") {
		names, values := g.pairs("db")
		for _, name := range names {
			if name != "db_url" && name != "url" {
				g.r.errorf(g.nestedKey("db", name), dialect.DidYouMean(name, []string{"db_url"}), "c['db'] has no key %s", quote(name))
				continue
			}
			f, ok = values[name], true
		}
	}
	f.secret = true
	raw := defaultDB
	if ok {
		s, isText := f.v.(starlark.String)
		if !isText {
			f.bad("a string")
			return DB{}
		}
		raw = string(s)
	}
	scheme, rest, _ := strings.Cut(raw, "://")
	scheme, _, _ = strings.Cut(scheme, "+") // the name of a driver for Python
	switch scheme {
	case "sqlite":
		file, _, _ := strings.Cut(rest, "?")
		file, hasSlash := strings.CutPrefix(file, "/")
		if !hasSlash || file == "" || file == ":memory:" {
			f.bad("a file's URL, such as 'sqlite:///state.sqlite'")
			return DB{}
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(g.r.opts.BaseDir, file)
		}
		return DB{Driver: "sqlite", URL: raw, Path: file}
	case "postgresql", "postgres":
		if u, err := url.Parse("postgresql://" + rest); err != nil || strings.Trim(u.Path, "/") == "" {
			f.bad("a database's URL, such as 'postgresql://user@host/database'")
		}
		return DB{Driver: "postgresql", URL: "postgresql://" + rest}
	}
	f.bad("a URL that begins with sqlite:/// or postgresql://")
	return DB{}
}

func (g *global) has(key string) bool {
	_, ok := g.some(key)
	return ok
}

// entry names a value of c for messages about lists.
func (g *global) entry(key string) string { return fmt.Sprintf("c['%s']", key) }
