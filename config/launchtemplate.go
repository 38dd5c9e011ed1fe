package config

import (
	"regexp"
	"strings"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// The forms of EC2's API reference for launch templates.
var (
	templateNameForm    = regexp.MustCompile(`^[a-zA-Z0-9().\-/_]{3,128}$`)
	templateVersionForm = regexp.MustCompile(`^([1-9][0-9]*|\$Latest|\$Default)$`)
)

// templateKeys are the fields of EC2's LaunchTemplateSpecification.
var templateKeys = wordSet("LaunchTemplateId LaunchTemplateName Version")

// readLaunchTemplate reads an id, a name, or a dictionary as EC2's API has it.
func readLaunchTemplate(a arguments) (t LaunchTemplate) {
	f, ok := a.some("launch_template")
	if !ok {
		return t
	}
	switch v := f.v.(type) {
	case starlark.String:
		if strings.HasPrefix(string(v), "lt-") {
			t.ID = f.templateID()
		} else {
			t.Name = f.templateName()
		}
		return t
	case *starlark.Dict:
	default:
		f.bad("a launch template's id or name, or a dictionary with LaunchTemplateId or LaunchTemplateName, and Version")
		return t
	}
	names, values := f.pairs()
	for _, name := range names {
		v := values[name]
		switch name {
		case "LaunchTemplateId":
			t.ID = v.templateID()
		case "LaunchTemplateName":
			t.Name = v.templateName()
		case "Version":
			t.Version = v.templateVersion()
		default:
			a.r.errorf(f.keyAt(name), dialect.DidYouMean(name, sortedKeys(templateKeys)), "%s has no key %s", f.label, quote(name))
		}
	}
	_, byID := values["LaunchTemplateId"]
	_, byName := values["LaunchTemplateName"]
	if byID == byName {
		f.bad("a dictionary with one of LaunchTemplateId and LaunchTemplateName")
	}
	return t
}

func (f field) templateID() string {
	id, ok := f.text()
	if ok && !validID(id, "lt-") {
		f.bad("an id that begins with lt-")
	}
	return id
}

func (f field) templateName() string {
	name, ok := f.text()
	if ok && !templateNameForm.MatchString(name) {
		f.bad("a name of 3 to 128 letters, digits and ( ) . - / _")
	}
	return name
}

func (f field) templateVersion() string {
	text := ""
	switch v := f.v.(type) {
	case starlark.String:
		text = string(v)
	case starlark.Int:
		text = v.String()
	}
	if !templateVersionForm.MatchString(text) {
		f.bad("a version's number, '$Latest' or '$Default'")
	}
	return text
}
