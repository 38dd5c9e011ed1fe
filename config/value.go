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
		return readWorker(a, a.limit("missing_timeout", defaultMissingTimeout, positive))
	case ec2Class:
		return readEC2Worker(a)
	case sessionClass:
		return readBoto3Session(a)
	case shellClass:
		return readShellCommand(a, dormouse.StepSpec{Name: "shell", FlunkOnFailure: true}, nil)
	case compileClass:
		return readShellCommand(a, dormouse.StepSpec{
			Name: "compile", HaltOnFailure: true, FlunkOnFailure: true,
			Description: "compiling", DescriptionDone: "compile",
		}, []any{"make", "all"})
	case testClass:
		return readShellCommand(a, dormouse.StepSpec{
			Name: "test", FlunkOnFailure: true, WarnOnFailure: true,
			Description: "testing", DescriptionDone: "test",
		}, []any{"make", "test"})
	case gitClass:
		return readGit(a)
	case factoryClass:
		return readFactory(a)
	case builderClass:
		return readBuilder(a)
	case masterLockClass, workerLockClass:
		return readLock(a)
	case accessClass:
		return readAccess(a)
	case mailClass:
		return readMailNotifier(a)
	case missingClass:
		return readMissingGenerator(a)
	case forceClass:
		return readForceScheduler(a)
	case triggerableClass:
		return readTriggerable(a)
	case interpolateClass:
		return readInterpolate(a)
	case propertyClass:
		return readProperty(a)
	case secretClass:
		return readSecretRef(a)
	case rendererClass:
		return readRenderer(a)
	case withArgsClass:
		return readWithArgs(a)
	case transformClass:
		return readTransform(a)
	case flattenClass:
		return readFlattenList(a)
	case comparisonClass:
		return readComparison(a)
	}
	if read, ok := stepClasses[o.class]; ok {
		return read(a)
	}
	return struct{}{} // describes a form, and means nothing here
}
