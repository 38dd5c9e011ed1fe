package config

import (
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// stepParams are what every step takes.
var stepParams = []param{
	{name: "name"},
	{name: "haltOnFailure"},
	{name: "flunkOnFailure"},
	{name: "warnOnFailure"},
	{name: "flunkOnWarnings"},
	{name: "warnOnWarnings"},
	{name: "alwaysRun"},
	{name: "description"},
	{name: "descriptionDone"},
	{name: "descriptionSuffix"},
	{name: "doStepIf"},
	{name: "hideStepIf"},
	{name: "locks", support: later, advice: "use `locks` of `util.BuilderConfig` or of the worker"},
	{name: "logEncoding", support: later, advice: "use UTF-8, as by `LC_ALL` in `env`, or `iconv` in the command"},
	{name: "useProgress", support: ignored},
	{name: "progressMetrics", support: ignored},
	{name: "updateBuildSummaryPolicy", support: ignored},
}

// readStep reads what all steps have in common; def has the class's defaults.
func readStep(a arguments, def dormouse.StepSpec) dormouse.StepSpec {
	s := dormouse.StepSpec{
		Name:            a.text("name", def.Name),
		HaltOnFailure:   a.flag("haltOnFailure", def.HaltOnFailure),
		FlunkOnFailure:  a.flag("flunkOnFailure", def.FlunkOnFailure),
		WarnOnFailure:   a.flag("warnOnFailure", def.WarnOnFailure),
		FlunkOnWarnings: a.flag("flunkOnWarnings", def.FlunkOnWarnings),
		WarnOnWarnings:  a.flag("warnOnWarnings", def.WarnOnWarnings),
		AlwaysRun:       a.flag("alwaysRun", def.AlwaysRun),
		Description:     a.words("description", def.Description),
		DescriptionDone: a.words("descriptionDone", def.DescriptionDone),
		Pos:             a.r.pos(a.o.at),
	}
	if suffix := a.words("descriptionSuffix", ""); suffix != "" {
		s.Description = strings.TrimSpace(s.Description + " " + suffix)
		s.DescriptionDone = strings.TrimSpace(s.DescriptionDone + " " + suffix)
	}
	s.DoStepIf = readCondition(a, "doStepIf", doStepIf, true)
	s.HideStepIf = readCondition(a, "hideStepIf", hideStepIf, false)
	return s
}

// onFailure are the defaults of steps that stop a build when they fail.
func onFailure(name, description, done string) dormouse.StepSpec {
	return dormouse.StepSpec{
		Name: name, HaltOnFailure: true, FlunkOnFailure: true, Description: description, DescriptionDone: done,
	}
}
