package build

import "github.com/dormouse-ci/dormouse"

// combine adds a step's result to that of the build so far, as Buildbot does,
// and says whether the build halts: then only steps with AlwaysRun follow.
//
//	step       build gets at least                                halts
//	failure    failure with FlunkOnFailure, else warnings with    with
//	           WarnOnFailure, else success                        HaltOnFailure
//	warnings   failure with FlunkOnWarnings, else warnings with   no
//	           WarnOnWarnings, else success
//	exception, retry, cancelled: the same                         yes
//	success, skipped: the same                                    no
func combine(spec dormouse.StepSpec, step, soFar dormouse.Result) (result dormouse.Result, halt bool) {
	adds := step
	switch step {
	case dormouse.Failure:
		halt = spec.HaltOnFailure
		switch {
		case spec.FlunkOnFailure:
		case spec.WarnOnFailure:
			adds = dormouse.Warnings
		default:
			adds = dormouse.Success
		}
	case dormouse.Warnings:
		switch {
		case spec.FlunkOnWarnings:
			adds = dormouse.Failure
		case spec.WarnOnWarnings:
		default:
			adds = dormouse.Success
		}
	case dormouse.Exception, dormouse.Retry, dormouse.Cancelled:
		halt = true
	}
	return dormouse.Worst(soFar, adds), halt
}

// saysSo reports whether a step that ended so is named in the build's state.
func saysSo(spec dormouse.StepSpec, result dormouse.Result) bool {
	switch result {
	case dormouse.Exception, dormouse.Retry, dormouse.Cancelled:
		return true
	case dormouse.Failure:
		return spec.FlunkOnFailure || spec.HaltOnFailure || spec.WarnOnFailure
	case dormouse.Warnings:
		return spec.WarnOnWarnings || spec.FlunkOnWarnings
	}
	return false
}

// outcomeWord is how Buildbot begins the state of a build that has ended.
func outcomeWord(r dormouse.Result) string {
	switch r {
	case dormouse.Success, dormouse.Skipped:
		return "build successful"
	case dormouse.Failure:
		return "failed"
	}
	return r.String()
}
