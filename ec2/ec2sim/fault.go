package ec2sim

import (
	"fmt"
	"net/http"
)

// fault is an error answer: what the caller did wrong or what the endpoint
// could not do, in EC2's words.
type fault struct {
	status  int // of the HTTP answer
	code    string
	message string
}

func (f *fault) Error() string { return f.code + ": " + f.message }

// refuse makes the fault of a request that was wrong.
func refuse(code, format string, args ...any) *fault {
	return &fault{status: http.StatusBadRequest, code: code, message: fmt.Sprintf(format, args...)}
}

// withStatus changes the HTTP status from the usual 400.
func (f *fault) withStatus(status int) *fault {
	f.status = status
	return f
}

// invalidValue is EC2's answer to a value that a parameter cannot have.
func invalidValue(parameter, value, why string) *fault {
	return refuse("InvalidParameterValue", "Value (%s) for parameter %s is invalid. %s", value, parameter, why)
}

// missing is EC2's answer to a required parameter that is not there.
func missing(parameter string) *fault {
	return refuse("MissingParameter", "The request must contain the parameter %s", parameter)
}
