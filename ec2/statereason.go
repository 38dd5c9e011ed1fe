package ec2

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// reasonHints are what a person can do about an instance that ended as EC2 launched
// it, where the reason is no code of the API, too.
//
// That a client error on launch is a KMS key which may not be used is from the
// Amazon EC2 User Guide, "Instance terminates immediately".
var reasonHints = map[string]string{
	"Client.InternalError": "as a rule EC2 may not use the KMS key of an encrypted volume or image: allow kms:CreateGrant, kms:Decrypt, kms:DescribeKey, " +
		"kms:GenerateDataKeyWithoutPlaintext and kms:ReEncrypt* on the key to these credentials, also in the key's own policy where another account has it; " +
		"for spot instances grant it to the role AWSServiceRoleForEC2Spot (`aws kms create-grant`)",
	"Server.InternalError": "the failure is EC2's own: another instance is started",
}

// stateReason is why an instance is in its state: EC2's code, its words, and what to
// do about it, as far as it can be told.
func stateReason(r *types.StateReason) string {
	if r == nil {
		return ""
	}
	code, text := deref(r.Code), deref(r.Message) // which EC2 begins with the code
	if !strings.HasPrefix(text, code) {
		text = strings.TrimSuffix(code+": "+text, ": ")
	}
	hint := reasonHints[code]
	if name := unprefixed(code); hint == "" && name != code {
		hint = meanings[name].hint
	}
	if hint != "" {
		text += "; " + hint
	}
	return text
}

// unprefixed is a code without the word that says whose fault it is, which EC2 puts
// before it in state reasons and in its documentation.
func unprefixed(code string) string {
	if rest, ok := strings.CutPrefix(code, "Client."); ok {
		return rest
	}
	return strings.TrimPrefix(code, "Server.")
}

// transitionTime reads when an instance changed its state, for instance from "User
// initiated (2026-11-28 21:03:04 GMT)"; zero where EC2 names no time, as for what it
// ended itself.
func transitionTime(reason string) time.Time {
	_, words, _ := strings.Cut(reason, "(")
	words, _, _ = strings.Cut(words, ")")
	at, err := time.Parse("2006-01-02 15:04:05 GMT", words)
	if err != nil {
		return time.Time{}
	}
	return at
}
