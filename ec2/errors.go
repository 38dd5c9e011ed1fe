package ec2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/dormouse-ci/dormouse"
)

// classify makes the one error that the rest of the program sees of a call.
func (a *Account) classify(ctx context.Context, x *exchange, err error) error {
	where := x.name + " in " + a.region
	if a.endpoint != "" {
		where += " at " + a.endpoint
	}
	e := a.reading(ctx, x, where, err)
	// What EC2 says of a token (Conflict) holds for all that was sent with it.
	if x.mutating && x.lost && !Settled(e) && e.Code != dormouse.Conflict {
		e.Code = dormouse.Unanswered
		e.Message = where + " was sent and may have been carried out; what came back last: " + strings.TrimPrefix(e.Message, where+": ")
	}
	return e
}

func (a *Account) reading(ctx context.Context, x *exchange, where string, err error) *dormouse.Error {
	fail := func(code dormouse.Code, format string, args ...any) *dormouse.Error {
		return &dormouse.Error{Code: code, Message: where + ": " + fmt.Sprintf(format, args...)}
	}
	var ours *dormouse.Error
	if errors.As(err, &ours) {
		return fail(ours.Code, "%s", ours.Error())
	}
	if ctxErr := ctx.Err(); ctxErr != nil {
		e := fail(dormouse.Unavailable, "given up")
		if x.last != nil {
			last := a.reading(context.WithoutCancel(ctx), x, where, x.last)
			e.Message += "; what came back last: " + strings.TrimPrefix(last.Message, where+": ")
		}
		e.Err = ctxErr
		return e
	}
	var cred *credentialsError
	if errors.As(err, &cred) {
		if code := remoteCode(err); code != "" { // STS's, of AssumeRole
			e := answered(code, where+": credentials", err, action{})
			e.Remote = "" // EC2 has not seen the request: nothing is settled by it
			return e
		}
		var op *smithy.OperationError
		if errors.As(cred.err, &op) && (op.Service() == "STS" || strings.HasPrefix(op.Service(), "SSO")) &&
			(neverConnected(cred.err) || httpStatus(cred.err) >= 500) {
			return fail(dormouse.Unavailable, "no credentials, as %s does not answer: %v", op.Service(), innermost(cred.err))
		}
		return fail(dormouse.Configuration, "no usable AWS credentials: give identifier and secret_identifier, "+
			"keys in ~/.aws/credentials or the environment, or an IAM role (%v)", innermost(cred.err))
	}
	if code := remoteCode(err); code != "" {
		return answered(code, where, err, x.action)
	}
	switch status := httpStatus(err); {
	case status >= 500 && x.mutating:
		return fail(dormouse.Unanswered, "HTTP %d without a readable answer", status)
	case status >= 500:
		return fail(dormouse.Unavailable, "HTTP %d without a readable answer", status)
	case status >= 400:
		return fail(dormouse.Configuration, "HTTP %d, and not in EC2's words: is endpoint_url EC2's?", status)
	case neverConnected(err):
		return fail(dormouse.Unavailable, "nobody answers: %v (check the network and endpoint_url)", innermost(err))
	case x.mutating && x.lost:
		return fail(dormouse.Unanswered, "no readable answer: %v", innermost(err))
	default:
		return fail(dormouse.Unavailable, "no readable answer: %v", innermost(err))
	}
}

// maxRemoteMessage bounds what is kept of EC2's own words. An
// UnauthorizedOperation's encoded details, which must stay whole to be
// decoded, are below it.
const maxRemoteMessage = 4096

func answered(code, where string, err error, act action) *dormouse.Error {
	var api smithy.APIError
	errors.As(err, &api)
	message := strings.ToValidUTF8(api.ErrorMessage(), "?")
	if len(message) > maxRemoteMessage {
		message = strings.ToValidUTF8(message[:maxRemoteMessage], "") + "…"
	}
	text := where + ": " + code
	if message = strings.TrimRight(message, ". "); message != "" {
		text += ": " + message
	}
	m := meaningOf(code, message)
	if act.spot && refusesSpot(m, message) {
		m = notOnSpot
	}
	if m.hint != "" {
		text += "; " + m.hint
	}
	return &dormouse.Error{Code: classOf(m, code, httpStatus(err), act.mutating), Message: text, Remote: code, Reach: m.reach}
}

// classOf classifies an answer of EC2. A client error (4xx) without a meaning says
// that the request as it stands will never be good: a person has to see it.
func classOf(m meaning, code string, status int, mutating bool) dormouse.Code {
	switch {
	case m.class == dormouse.Unanswered && !mutating:
		return dormouse.Unavailable
	case m.class != "":
		return m.class
	case status >= 500 && mutating:
		return dormouse.Unanswered
	case status >= 500:
		return dormouse.Unavailable
	case strings.HasSuffix(code, "LimitExceeded"):
		return dormouse.Quota
	case status >= 400:
		return dormouse.Configuration
	default:
		return dormouse.Internal
	}
}

// leavesOpen reports whether an attempt that ended so may have been carried
// out.
func leavesOpen(err error) bool {
	if code := remoteCode(err); code != "" {
		return classOf(meanings[code], code, httpStatus(err), true) == dormouse.Unanswered
	}
	switch status := httpStatus(err); {
	case status >= 500:
		return true
	case status >= 400:
		return false
	default:
		return !neverConnected(err)
	}
}

// Settled reports whether a [Account.Launch] that ended with err is settled:
// EC2 looked at the request and its token and refused it, so that the token
// has started nothing and a new attempt may be opened. After any other error
// the same bytes must be sent again with the same token.
func Settled(err error) bool {
	var e *dormouse.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case dormouse.Capacity, dormouse.Quota, dormouse.Configuration, dormouse.NotFound:
		return e.Remote != "" && !refusalOf(err).unread
	default:
		return false
	}
}

// refusalOf is the meaning of what EC2 answered.
func refusalOf(err error) meaning {
	e, ok := asError(err)
	if !ok {
		return meaning{}
	}
	_, words, _ := strings.Cut(e.Message, e.Remote+": ") // what stands before is ours
	return meaningOf(e.Remote, words)
}

func asError(err error) (*dormouse.Error, bool) {
	return errors.AsType[*dormouse.Error](err)
}

// remoteOf is EC2's code of a classified error, "" for none.
func remoteOf(err error) string {
	if e, ok := asError(err); ok {
		return e.Remote
	}
	return ""
}

// httpStatus is the status of the answer, 0 when there was none.
func httpStatus(err error) int {
	var response *awshttp.ResponseError
	if !errors.As(err, &response) || response.ResponseError == nil || response.Response == nil || response.Response.Response == nil {
		return 0
	}
	return response.HTTPStatusCode()
}

// neverConnected reports whether a request failed before any of it was sent.
func neverConnected(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) || errors.Is(err, syscall.ECONNREFUSED)
}

// innermost is the cause at the bottom of the SDK's layers, whose own texts
// repeat each other.
func innermost(err error) error {
	for {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			return op
		}
		switch wrapped := err.(type) { //nolint:errorlint // it walks the chain itself
		case interface{ Unwrap() error }:
			if next := wrapped.Unwrap(); next != nil {
				err = next
				continue
			}
		case interface{ Unwrap() []error }:
			if all := wrapped.Unwrap(); len(all) > 0 {
				err = all[0]
				continue
			}
		}
		return err
	}
}
