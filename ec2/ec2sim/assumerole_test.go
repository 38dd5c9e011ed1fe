package ec2sim

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func stsClient(s *Server, provider aws.CredentialsProvider) *sts.Client {
	return sts.New(sts.Options{
		Region: s.opts.Region, Credentials: provider, BaseEndpoint: aws.String("http://sts.local"),
		HTTPClient: &http.Client{Transport: s}, Retryer: aws.NopRetryer{},
	})
}

func TestAssumeRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{})
		static := credentials.NewStaticCredentialsProvider(DefaultAccessKeyID, DefaultSecretAccessKey, "")
		out, err := stsClient(s, static).AssumeRole(t.Context(), &sts.AssumeRoleInput{
			RoleArn: aws.String("arn:aws:iam::123456789012:role/team/ci"), RoleSessionName: aws.String("master"), DurationSeconds: aws.Int32(900),
		})
		if err != nil {
			t.Fatal(err)
		}
		temporary := *out.Credentials
		as := func(token string) aws.CredentialsProvider {
			return credentials.NewStaticCredentialsProvider(*temporary.AccessKeyId, *temporary.SecretAccessKey, token)
		}
		launch := func(token string) error {
			_, err := newClient(s, func(o *ec2.Options) { o.Credentials = as(token) }).RunInstances(t.Context(), launchInput())
			return err
		}
		if err := launch(*temporary.SessionToken); err != nil {
			t.Fatal(err)
		}
		if e := s.Ledger().Instances[0]; e.AskedBy != *temporary.AccessKeyId {
			t.Errorf("asked for by %s", e.AskedBy)
		}
		who, err := stsClient(s, as(*temporary.SessionToken)).GetCallerIdentity(t.Context(), nil)
		if err != nil || *who.Arn != "arn:aws:sts::123456789012:assumed-role/ci/master" || !strings.HasSuffix(*who.UserId, ":master") {
			t.Errorf("the session is %+v, %v", who, err)
		}
		wantCode(t, launch(""), "AuthFailure")
		wantCode(t, launch("wrong"), "AuthFailure")
		_, err = stsClient(s, as("wrong")).GetCallerIdentity(t.Context(), nil)
		wantCode(t, err, "InvalidClientTokenId")
		time.Sleep(15 * time.Minute)
		wantCode(t, launch(*temporary.SessionToken), "RequestExpired")
		_, err = stsClient(s, as(*temporary.SessionToken)).GetCallerIdentity(t.Context(), nil)
		wantCode(t, err, "ExpiredToken")
	})
}

func TestAssumeRoleRefusals(t *testing.T) {
	client := stsClient(newServer(t, Options{}), credentials.NewStaticCredentialsProvider(DefaultAccessKeyID, DefaultSecretAccessKey, ""))
	for name, tc := range map[string]struct {
		role, session string
		seconds       int32
		code          string
	}{
		"account": {"arn:aws:iam::999999999999:role/ci", "master", 3600, "AccessDenied"},
		"role":    {"arn:aws:iam::123456789012:user/ci", "master", 3600, "ValidationError"},
		"name":    {"arn:aws:iam::123456789012:role/ci", "a b", 3600, "ValidationError"},
		"time":    {"arn:aws:iam::123456789012:role/ci", "master", 60, "ValidationError"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: &tc.role, RoleSessionName: &tc.session, DurationSeconds: &tc.seconds})
			wantCode(t, err, tc.code)
		})
	}
}
