package dormouse

// FunctionError is the failure of one of the configuration's own functions.
type FunctionError struct {
	Message string
	// Traceback are the calls that led to it, outermost first, a line each.
	Traceback []string
}

func (e *FunctionError) Error() string { return e.Message }

// Identified is a value that tells what it is: two that answer the same do the
// same, though they were made by two readings of a configuration. Where it also
// has Arguments() []any, those have to be the same, too.
type Identified interface{ Identity() string }
