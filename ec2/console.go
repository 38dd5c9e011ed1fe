package ec2

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
)

// Console returns what the machine printed on its console, at most the last
// 64 KiB, which is all that EC2 keeps; "" when there is nothing (yet). It asks
// for the newest output, which only some instance types can give, and else for
// what EC2 took at the last change of state.
func (a *Account) Console(ctx context.Context, id string) (string, error) {
	text, err := a.console(ctx, id, true)
	if text != "" {
		return text, nil
	}
	if err != nil && dormouse.CodeOf(err) != dormouse.Configuration {
		return "", err
	}
	return a.console(ctx, id, false)
}

func (a *Account) console(ctx context.Context, id string, latest bool) (string, error) {
	in := &ec2.GetConsoleOutputInput{InstanceId: &id}
	if latest {
		in.Latest = &latest
	}
	out, err := call(ctx, a, action{name: "GetConsoleOutput"}, a.api.getConsoleOutput, in)
	if err != nil {
		return "", err
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(deref(out.Output)))
	if err != nil {
		return "", dormouse.Errorf(dormouse.Internal, "the console output of %s cannot be read: %w", id, err)
	}
	return strings.ToValidUTF8(string(text), "\uFFFD"), nil
}
