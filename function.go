package dormouse

// FunctionError is the failure of one of the configuration's own functions.
type FunctionError struct {
	Message string
	// Traceback are the calls that led to it, outermost first, a line each.
	Traceback []string
}

func (e *FunctionError) Error() string { return e.Message }
