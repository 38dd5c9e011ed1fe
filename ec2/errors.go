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

// classes sorts EC2's error codes. The codes and what they mean are from
// "Error codes for the Amazon EC2 API" (Amazon EC2 API Reference); that a type
// which a zone does not offer, or a subnet without free addresses, is a want
// of capacity, so that the next offering is tried, is Karpenter's experience
// (aws/karpenter-provider-aws, pkg/errors).
var classes = map[string]dormouse.Code{
	"InsufficientInstanceCapacity":         dormouse.Capacity,
	"InsufficientCapacity":                 dormouse.Capacity,
	"InsufficientHostCapacity":             dormouse.Capacity,
	"InsufficientReservedInstanceCapacity": dormouse.Capacity,
	"InsufficientFreeAddressesInSubnet":    dormouse.Capacity,
	"ReservationCapacityExceeded":          dormouse.Capacity,
	"SpotMaxPriceTooLow":                   dormouse.Capacity,
	"UnfulfillableCapacity":                dormouse.Capacity,
	"Unsupported":                          dormouse.Capacity,
	"UnavailableHostRequirements":          dormouse.Capacity,
	"VolumeTypeNotAvailableInZone":         dormouse.Capacity, // another zone has it
	"ResourceCountExceeded":                dormouse.Quota,
	"VolumeIOPSLimit":                      dormouse.Quota,
	"ServerInternal":                       dormouse.Unanswered,
	"MaxSpotFleetRequestCountExceeded":     dormouse.Quota,

	"InstanceLimitExceeded":         dormouse.Quota,
	"VcpuLimitExceeded":             dormouse.Quota,
	"MaxSpotInstanceCountExceeded":  dormouse.Quota,
	"VolumeLimitExceeded":           dormouse.Quota,
	"InsufficientVolumeCapacity":    dormouse.Capacity,
	"MaxIOPSLimitExceeded":          dormouse.Quota,
	"SecurityGroupLimitExceeded":    dormouse.Quota,
	"RequestResourceCountExceeded":  dormouse.Quota,
	"NetworkInterfaceLimitExceeded": dormouse.Quota,
	"ConcurrentTagAccess":           dormouse.Throttled,
	"RequestLimitExceeded":          dormouse.Throttled,
	"RequestThrottled":              dormouse.Throttled,
	"Throttling":                    dormouse.Throttled,
	"ThrottlingException":           dormouse.Throttled,
	"EC2ThrottledException":         dormouse.Throttled,
	"BandwidthLimitExceeded":        dormouse.Throttled,
	"SlowDown":                      dormouse.Throttled,
	"Unavailable":                   dormouse.Unavailable,
	"ServiceUnavailable":            dormouse.Unavailable,
	"InsufficientAddressCapacity":   dormouse.Capacity,
	"InternalError":                 dormouse.Unanswered,
	"InternalFailure":               dormouse.Unanswered,
	"RequestTimeout":                dormouse.Unanswered,
	"RequestTimeoutException":       dormouse.Unanswered,
	"InvalidInstanceID":             dormouse.NotFound,
	"InvalidInstanceID.NotFound":    dormouse.NotFound,
	"InvalidInstanceID.Malformed":   dormouse.NotFound,
	"IdempotentParameterMismatch":   dormouse.Conflict, // the token was used before, for another launch
	"InvalidParameterCombination":   dormouse.Configuration,
	"OperationNotPermitted":         dormouse.Configuration,
	"VPCIdNotSpecified":             dormouse.Configuration,
	"VPCResourceNotSpecified":       dormouse.Configuration,
	"DefaultVpcDoesNotExist":        dormouse.Configuration,
	"DefaultSubnetDoesNotExist":     dormouse.Configuration,
	"UnsupportedOperation":          dormouse.Configuration,
}

// refusals are the codes that come from checking who calls, before EC2 looks
// at what is asked: they prove nothing about an earlier request.
var refusals = map[string]bool{
	"AuthFailure": true,
	"AuthFailure.ServiceLinkedRoleCreationNotPermitted": true,
	"AccessDenied":                true,
	"AccessDeniedException":       true,
	"Blocked":                     true,
	"ExpiredToken":                true,
	"ExpiredTokenException":       true,
	"IncompleteSignature":         true,
	"InvalidClientTokenId":        true,
	"InvalidSignatureException":   true,
	"MissingAuthenticationToken":  true,
	"OptInRequired":               true,
	"PendingVerification":         true,
	"RequestExpired":              true,
	"SignatureDoesNotMatch":       true,
	"UnauthorizedOperation":       true,
	"UnrecognizedClientException": true,
}

// hints say what a person can do about a code.
var hints = map[string]string{
	"AuthFailure":                                 "EC2 does not accept these credentials: check identifier and secret_identifier (or the profile), and that the keys are active in this region",
	"InvalidClientTokenId":                        "AWS does not know this access key: check identifier, or the profile",
	"SignatureDoesNotMatch":                       "the secret key does not belong to the access key: check secret_identifier",
	"ExpiredToken":                                "the session token has expired: renew it, or let the SDK's chain renew it (a role or SSO profile)",
	"RequestExpired":                              "this machine's clock is more than 5 minutes off: set it (NTP)",
	"OptInRequired":                               "sign this AWS account up for EC2, or enable the region for it",
	"PendingVerification":                         "AWS is still verifying the account in this region: wait for its mail",
	"Blocked":                                     "the account is blocked: contact AWS Support",
	"AccessDenied":                                "to assume a role, check role_arn, external_id and the role's trust policy; else allow the action in the IAM policy of these credentials",
	"AccessDeniedException":                       "allow the action in the IAM policy of these credentials",
	"InvalidLaunchTemplateId.NotFound":            "check launch_template and region",
	"InvalidLaunchTemplateId.VersionNotFound":     "check the version in launch_template",
	"InvalidLaunchTemplateName.NotFoundException": "check launch_template and region",
	"UnauthorizedOperation":                       "allow the action in the IAM policy of these credentials; `aws sts decode-authorization-message` tells which statement refused it",
	"VPCIdNotSpecified":                           "the region has no default VPC: give subnet_id and security_group_ids in place of security_name",
	"VPCResourceNotSpecified":                     "this instance type needs a VPC: give subnet_id and security_group_ids",
	"DefaultVpcDoesNotExist":                      "the region has no default VPC: give subnet_id and security_group_ids in place of security_name",
	"InvalidAMIID.NotFound":                       "check that ami stands in this region and is shared with this account",
	"InvalidAMIID.Unavailable":                    "the image was deregistered or is not ready: choose another ami",
	"InvalidAMIID.Malformed":                      "an AMI's id looks like ami-0123456789abcdef0",
	"InvalidKeyPair.NotFound":                     "the key pair has gone: it is made anew at the next start",
	"InvalidKeyPair.Format":                       "check keypair_name",
	"InvalidGroup.NotFound":                       "check security_name or security_group_ids: the group must be in the VPC that the instance starts in",
	"InvalidSubnetID.NotFound":                    "check subnet_id and region",
	"VcpuLimitExceeded":                           "end other instances, or ask for a higher vCPU limit in the Service Quotas console",
	"InstanceLimitExceeded":                       "end other instances, or ask for a higher limit in the Service Quotas console",
	"MaxSpotInstanceCountExceeded":                "end other spot instances, or ask for a higher spot limit in the Service Quotas console",
	"InsufficientInstanceCapacity":                "AWS has no such machine free there now: more instance types, subnets or zones to choose from, or fallback_to_on_demand for spot, would help",
	"SpotMaxPriceTooLow":                          "the spot price is above the bid: raise max_spot_price or price_multiplier, or allow fallback_to_on_demand",
	"Unsupported":                                 "this zone does not offer that instance type, or not with these options: name another placement, subnet_id or instance_type",
	"InvalidAction":                               "the endpoint does not know this call: is endpoint_url EC2's?",
	"OperationNotPermitted":                       "the instance is protected against termination: switch disableApiTermination off",
	"RequestLimitExceeded":                        "too many EC2 calls in this account and region; it is tried again more slowly",
}

// classify makes the one error that the rest of the program sees of a call.
func (a *Account) classify(ctx context.Context, x *exchange, err error) error {
	where := x.name + " in " + a.region
	if a.endpoint != "" {
		where += " at " + a.endpoint
	}
	e := a.reading(ctx, x, where, err)
	if x.mutating && x.lost && !Settled(e) {
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
		e.Err = ctxErr
		return e
	}
	var cred *credentialsError
	if errors.As(err, &cred) {
		if code := remoteCode(err); code != "" { // STS's, of AssumeRole
			e := answered(code, where+": credentials", err, false)
			e.Remote = "" // EC2 has not seen the request: nothing is settled by it
			return e
		}
		return fail(dormouse.Configuration, "no usable AWS credentials: give identifier and secret_identifier, "+
			"keys in ~/.aws/credentials or the environment, or an IAM role (%v)", innermost(cred.err))
	}
	if code := remoteCode(err); code != "" {
		return answered(code, where, err, x.mutating)
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

func answered(code, where string, err error, mutating bool) *dormouse.Error {
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
	if hint := hints[code]; hint != "" {
		text += "; " + hint
	}
	return &dormouse.Error{Code: classOf(code, httpStatus(err), mutating), Message: text, Remote: code}
}

// classOf classifies an answer of EC2. A client error (4xx) that is not in the
// table says that the request as it stands will never be good: a person has to
// see it.
func classOf(code string, status int, mutating bool) dormouse.Code {
	class, known := classes[code]
	switch {
	case known && class == dormouse.Unanswered && !mutating:
		return dormouse.Unavailable
	case known:
		return class
	case refusals[code]:
		return dormouse.Configuration
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
		return classOf(code, httpStatus(err), true) == dormouse.Unanswered
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
		return e.Remote != "" && !refusals[e.Remote]
	default:
		return false
	}
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
