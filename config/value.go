package config

import (
	"github.com/dormouse-ci/dormouse"
)

// value is what an object's arguments say, read once. It is nil when an
// argument that it can not do without is wrong, and while it is being read,
// which can lead back to it.
func (r *reader) value(o *object) any {
	if !o.read && !o.class.later {
		o.read = true
		r.goOn()
		o.value = r.read(o)
	}
	return o.value
}

func (r *reader) read(o *object) any {
	a := arguments{r, o}
	switch o.class {
	case workerClass:
		return a.worker(a.limit("missing_timeout", defaultMissingTimeout, positive))
	case ec2Class:
		return a.ec2Worker()
	case sessionClass:
		return a.boto3Session()
	case shellClass:
		return a.shellCommand(dormouse.StepSpec{Name: "shell", FlunkOnFailure: true}, nil)
	case compileClass:
		return a.shellCommand(dormouse.StepSpec{
			Name: "compile", HaltOnFailure: true, FlunkOnFailure: true,
			Description: "compiling", DescriptionDone: "compile",
		}, []any{"make", "all"})
	case testClass:
		return a.shellCommand(dormouse.StepSpec{
			Name: "test", FlunkOnFailure: true, WarnOnFailure: true,
			Description: "testing", DescriptionDone: "test",
		}, []any{"make", "test"})
	case gitClass:
		return a.git()
	case factoryClass:
		return a.factory()
	case builderClass:
		return a.builder()
	case masterLockClass, workerLockClass:
		return a.lock()
	case accessClass:
		return a.access()
	case mailClass:
		return a.mailNotifier()
	case missingClass:
		return a.missingGenerator()
	case forceClass:
		return a.forceScheduler()
	case triggerableClass:
		return a.triggerable()
	case interpolateClass:
		return a.interpolate()
	case propertyClass:
		return a.property()
	case secretClass:
		return a.secret()
	case rendererClass:
		return a.renderer()
	case withArgsClass:
		return a.withArgs()
	case transformClass:
		return a.transform()
	case flattenClass:
		return a.flattenList()
	case comparisonClass:
		return a.comparison()
	}
	if read, ok := stepClasses[o.class]; ok {
		return read(a)
	}
	return struct{}{} // describes a form, and means nothing here
}
