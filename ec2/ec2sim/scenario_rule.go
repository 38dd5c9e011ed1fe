package ec2sim

import (
	"math"
	"net/http"
	"regexp"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

var (
	actionForm = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{1,63}$`)
	zoneForm   = regexp.MustCompile(`^([a-z]|[a-z]{2}(-[a-z]+)+-[0-9][a-z])$`)
	codeForm   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.]{1,99}$`)
)

func (r *scenarioReader) condition(path string, v any, w *condition) {
	market := ""
	r.members(path, v, map[string]func(string, any){
		"action": func(path string, v any) {
			r.text(&w.action, actionForm, "the name of an action, such as RunInstances")(path, v)
			if _, known := actions[serviceEC2][w.action]; !known && w.action != "" {
				r.wrong(path, "%q: the endpoint has no such action", w.action)
			}
		},
		"zone": r.text(&w.zone, zoneForm, `a zone's letter or its name, such as "a" or "us-east-1a"`),
		"instance_type": func(path string, v any) {
			r.text(&w.instanceType, anyText, "an instance type")(path, v)
			if _, known := typeNamed(w.instanceType); !known && w.instanceType != "" {
				r.wrong(path, "%q: the endpoint has no such instance type", w.instanceType)
			}
		},
		"market": r.text(&market, regexp.MustCompile(`^(spot|on-demand)$`), `"spot" or "on-demand"`),
		"tags": func(path string, v any) {
			object, ok := v.([]member)
			if !ok {
				r.wrong(path, "expecting an object of tags and their values")
				return
			}
			w.tags = make(map[string]string, len(object))
			for _, m := range object {
				var value string
				r.text(&value, anyText, "a tag's value")(below(path, m.name), m.value)
				w.tags[m.name] = value
			}
		},
		"skip":     r.whole(&w.skip, 0),
		"times":    r.whole(&w.times, 1),
		"fraction": r.decimal(&w.fraction, 1),
		"from":     r.duration(&w.from),
		"until":    r.duration(&w.until),
	}, "action", "zone", "instance_type", "market", "tags", "skip", "times", "fraction", "from", "until")
	w.market = dormouse.Market(market)
	if w.until != 0 && w.until <= w.from {
		r.wrong(below(path, "until"), "%v: expecting a time after %v, when the rule begins", w.until, w.from)
	}
}

func (r *scenarioReader) deed(path string, v any, d *deed) {
	names := []string{
		string(doFail), string(doThrottle), string(doSlow), string(doLoseAnswer), string(doCapacity),
		string(doSpotPrice), string(doLeaveOpen), string(doRepeat), string(doHide), string(doLoseTags), string(doDie),
		string(doNeverBoot), string(doInterrupt),
	}
	if object, ok := v.([]member); ok && len(object) != 1 {
		r.wrong(path, "expecting exactly one of %s", strings.Join(names, ", "))
		return
	}
	read := map[deedKind]func(string, any){
		doFail:       func(path string, v any) { r.failure(path, v, d) },
		doThrottle:   r.yes,
		doSlow:       r.duration(&d.delay),
		doLoseAnswer: r.yes,
		doCapacity:   r.whole(&d.capacity, 0),
		doSpotPrice:  func(path string, v any) { r.curve(path, v, d) },
		doLeaveOpen:  r.yes,
		doRepeat:     r.yes,
		doHide:       r.duration(&d.delay),
		doLoseTags:   r.duration(&d.delay),
		doDie:        func(path string, v any) { r.death(path, v, d) },
		doNeverBoot:  r.yes,
		doInterrupt: func(path string, v any) {
			d.interrupt.notice, d.interrupt.recommends = defaultNotice, true
			r.members(path, v, map[string]func(string, any){
				"after":  r.duration(&d.interrupt.after),
				"notice": r.duration(&d.interrupt.notice),
				"rebalance": func(path string, v any) {
					if v == "never" {
						d.interrupt.recommends = false
						return
					}
					r.duration(&d.interrupt.rebalance)(path, v)
				},
			}, "after", "notice", "rebalance")
		},
	}
	members := make(map[string]func(string, any), len(read))
	for kind, f := range read {
		members[string(kind)] = func(path string, v any) {
			d.kind = kind
			f(path, v)
		}
	}
	r.members(path, v, members, names...)
}

// statuses are the HTTP statuses of the error codes that are not the caller's
// fault, or not the request's.
var statuses = map[string]int{
	"InsufficientInstanceCapacity": http.StatusInternalServerError,
	"InternalError":                http.StatusInternalServerError,
	"InternalFailure":              http.StatusInternalServerError,
	"RequestLimitExceeded":         http.StatusServiceUnavailable,
	"ServiceUnavailable":           http.StatusServiceUnavailable,
	"Unavailable":                  http.StatusServiceUnavailable,
	"AuthFailure":                  http.StatusUnauthorized,
	"OptInRequired":                http.StatusForbidden,
	"UnauthorizedOperation":        http.StatusForbidden,
}

func (r *scenarioReader) failure(path string, v any, d *deed) {
	f := &fault{message: "The scenario says so."}
	carriedOut := false
	r.members(path, v, map[string]func(string, any){
		"code":    r.text(&f.code, codeForm, "an error code, such as InternalError"),
		"message": r.text(&f.message, anyText, "a line of text"),
		"status": func(path string, v any) {
			r.whole(&f.status, http.StatusBadRequest)(path, v)
			if f.status > 599 {
				r.wrong(path, "%d: expecting a status of an error, 400 to 599", f.status)
			}
		},
		"carried_out": func(path string, v any) {
			r.yes(path, v)
			carriedOut = true
		},
	}, "code", "message", "status", "carried_out")
	if f.code == "" {
		r.wrong(path, `has no usable "code"`)
	}
	if f.status == 0 {
		if f.status = statuses[f.code]; f.status == 0 {
			f.status = http.StatusBadRequest
		}
	}
	if d.fault = f; carriedOut {
		d.kind = doFailDone
	}
}

func (r *scenarioReader) death(path string, v any, d *deed) {
	state, message := "running", ""
	code := "Server.InternalError"
	r.members(path, v, map[string]func(string, any){
		"while":   r.text(&state, regexp.MustCompile(`^(pending|running)$`), `"pending" or "running"`),
		"after":   r.duration(&d.death.after),
		"code":    r.text(&code, codeForm, "a state reason's code, such as Server.InternalError"),
		"message": r.text(&message, anyText, "a line of text"),
	}, "while", "after", "code", "message")
	if message == "" {
		message = "The scenario ended this instance"
	}
	d.death.pending = state == "pending"
	d.death.reason = reason{code, code + ": " + message}
}

func (r *scenarioReader) curve(path string, v any, d *deed) {
	d.interrupt.notice, d.interrupt.recommends = defaultNotice, true
	r.members(path, v, map[string]func(string, any){
		"steps":  func(path string, v any) { r.steps(path, v, d) },
		"notice": r.duration(&d.interrupt.notice),
	}, "steps", "notice")
	if len(d.curve) == 0 {
		r.wrong(path, `needs "steps", one at least`)
	}
}

func (r *scenarioReader) steps(path string, v any, d *deed) {
	r.list(path, v, maxRules, func(path string, v any) {
		var p pricePoint
		r.members(path, v, map[string]func(string, any){
			"at":    r.duration(&p.at),
			"price": r.decimal(&p.price, math.MaxInt32),
		}, "at", "price")
		if p.price == 0 {
			r.wrong(path, `has no usable "price"`)
		}
		if n := len(d.curve); n > 0 && p.at <= d.curve[n-1].at {
			r.wrong(below(path, "at"), "%v: expecting a time after the step before, %v", p.at, d.curve[n-1].at)
		}
		d.curve = append(d.curve, p)
	})
}

// agree checks that what the rule asks for is there when it is asked.
func (r *scenarioReader) agree(path string, rule *rule) {
	w := rule.when
	switch rule.do.kind {
	case doThrottle, doSlow:
		if w.ofOffering() {
			r.wrong(path, "a call is throttled or slowed by its action alone: zone, instance_type, market and tags are for others")
		}
	case doFail, doFailDone, doLoseAnswer:
		if w.ofOffering() && w.action != "RunInstances" {
			r.wrong(path, "only the action RunInstances has a zone, instance_type, market or tags")
		}
	default:
		if w.action != "" {
			r.wrong(below(path, "action"), "%s is about instances, not about calls", rule.do.kind)
		}
	}
	switch rule.do.kind {
	case doFail:
		if w.ofOffering() {
			rule.do.kind = doFailLaunch
		}
	case doInterrupt, doSpotPrice, doLeaveOpen:
		if w.market == dormouse.OnDemand {
			r.wrong(below(path, "market"), "%s is for spot instances", rule.do.kind)
		}
	}
	if rule.do.kind == doSpotPrice {
		for _, key := range []struct {
			name string
			set  bool
		}{
			{"tags", len(w.tags) > 0},
			{"skip", w.skip > 0},
			{"times", w.times > 0},
			{"fraction", w.fraction > 0},
			{"from", w.from > 0},
			{"until", w.until > 0},
		} {
			if key.set {
				r.wrong(below(path, key.name), "a price has a zone and an instance_type only; its curve says when")
			}
		}
	}
}
