package ec2

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/dormouse-ci/dormouse"
)

func TestOpenRegion(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("[profile west]\nregion = us-west-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		session Session
		region  string
		env     string
		want    string
		key     string
		code    dormouse.Code
	}{
		{name: "default", want: "us-east-1", key: "us-east-1/default"},
		{name: "worker's", region: "eu-west-1", session: Session{Region: "eu-west-2"}, env: "eu-west-3", want: "eu-west-1", key: "eu-west-1/default"},
		{name: "session's", session: Session{Region: "eu-west-2"}, env: "eu-west-3", want: "eu-west-2", key: "eu-west-2/default"},
		{name: "environment's", env: "eu-west-3", want: "eu-west-3", key: "eu-west-3/default"},
		{name: "profile's", session: Session{Profile: "west"}, want: "us-west-2"},
		{name: "no such profile", session: Session{Profile: "nobody"}, code: dormouse.Configuration},
		{name: "government", region: "us-gov-west-1", want: "us-gov-west-1", key: "us-gov-west-1/default"},
		{name: "no region", region: "evil.example/x", code: dormouse.Configuration},
		{name: "a zone", region: "us-east-1a", code: dormouse.Configuration},
		{name: "half a key", session: Session{AccessKeyID: "x"}, code: dormouse.Configuration},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noEnvironment(t)
			t.Setenv("AWS_CONFIG_FILE", config)
			t.Setenv("AWS_REGION", tt.env)
			a, err := Open(t.Context(), tt.session, tt.region, Deployment{ID: "d"})
			wantCode(t, err, tt.code)
			if err != nil {
				return
			}
			if a.Region() != tt.want || tt.key != "" && a.Key() != tt.key {
				t.Errorf("region %q, key %q; want %q, %q", a.Region(), a.Key(), tt.want, tt.key)
			}
		})
	}
}

func TestAccountKey(t *testing.T) {
	base := Session{AccessKeyID: "AKIA", SecretAccessKey: testSecret}
	rotated, moved := base, base
	rotated.SecretAccessKey, rotated.SessionToken = "other", "token"
	if accountKey(base, "r") != accountKey(rotated, "r") {
		t.Error("the key changes with the secret: rows of the store would lose their account")
	}
	keys := map[string]bool{accountKey(base, "r"): true}
	for _, change := range []func(*Session){
		func(s *Session) { s.AccessKeyID = "x" }, func(s *Session) { s.Profile = "x" }, func(s *Session) { s.RoleARN = "x" },
		func(s *Session) { s.ExternalID = "x" }, func(s *Session) { s.EndpointURL = "x" },
	} {
		moved = base
		change(&moved)
		key := accountKey(moved, "r")
		if keys[key] || strings.Contains(key, "AKIA") {
			t.Errorf("key %q of %+v", key, moved)
		}
		keys[key] = true
	}
}

func TestNoCredentials(t *testing.T) {
	noEnvironment(t)
	a, err := Open(t.Context(), Session{EndpointURL: "http://user:pw@ec2.test"}, "", Deployment{ID: "d"},
		WithHTTPClient(&http.Client{Transport: &endpoint{}}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.List(t.Context())
	wantCode(t, err, dormouse.Configuration, "credentials", "secret_identifier", "DescribeInstances in us-east-1 at http://user:xxxxx@ec2.test")
	_, err = a.Launch(t.Context(), testLaunch(t, 1), "t")
	wantCode(t, err, dormouse.Configuration, "credentials")
}

// TestAssumeRole: the role is asked for at the session's endpoint, with its
// external id.
func TestAssumeRole(t *testing.T) {
	noEnvironment(t)
	e := &endpoint{}
	e.answer = func(form url.Values) (string, error) {
		if form.Get("Action") != "AssumeRole" {
			return "", nil
		}
		return "<AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>" +
			"<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>", nil
	}
	a, err := Open(t.Context(), Session{
		AccessKeyID: "AKIA", SecretAccessKey: testSecret, EndpointURL: "http://ec2.test", RoleARN: "arn:aws:iam::1:role/ci", ExternalID: "x1",
	}, "", Deployment{ID: "d"}, WithHTTPClient(&http.Client{Transport: e}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	sts := e.sent("AssumeRole")
	if len(sts) != 1 || sts[0].Get("ExternalId") != "x1" || sts[0].Get("RoleArn") != "arn:aws:iam::1:role/ci" {
		t.Errorf("AssumeRole: %v", sts)
	}
}

// TestAssumeRoleRefused: what STS says is not EC2's word on a launch.
func TestAssumeRoleRefused(t *testing.T) {
	noEnvironment(t)
	for _, code := range []string{"AccessDenied", "ValidationError", "RegionDisabledException"} {
		e := &endpoint{answer: func(form url.Values) (string, error) {
			return "", apiError{403, code, "User: arn:aws:iam::1:user/ci is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::1:role/ci"}
		}}
		a, err := Open(t.Context(), Session{
			AccessKeyID: "AKIA", SecretAccessKey: testSecret, EndpointURL: "http://ec2.test", RoleARN: "arn:aws:iam::1:role/ci", ExternalID: "x1",
		}, "", Deployment{ID: "d"}, WithHTTPClient(&http.Client{Transport: e}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Launch(t.Context(), testLaunch(t, 1), "t")
		wantCode(t, err, dormouse.Configuration, "credentials: "+code, "sts:AssumeRole")
		if Settled(err) || len(e.sent("RunInstances")) > 0 {
			t.Errorf("%s: settled %v, sent %v", code, Settled(err), e.actions())
		}
	}
}

// TestAssumeRoleUnanswered: an STS that is away for now is no mistake of the
// configuration.
func TestAssumeRoleUnanswered(t *testing.T) {
	noEnvironment(t)
	for name, fault := range map[string]error{
		"nobody answers": &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED},
		"HTTP 503":       apiError{503, "", "oops"},
		"its own error":  apiError{500, "InternalFailure", "oops"},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, err := Open(t.Context(), Session{
				AccessKeyID: "AKIA", SecretAccessKey: testSecret, EndpointURL: "http://ec2.test", RoleARN: "arn:aws:iam::1:role/ci",
			}, "", Deployment{ID: "d"}, WithHTTPClient(&http.Client{Transport: &endpoint{answer: func(url.Values) (string, error) { return "", fault }}}))
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Launch(t.Context(), testLaunch(t, 1), "t")
			if code := dormouse.CodeOf(err); code != dormouse.Unavailable {
				t.Errorf("%s: %q: %v", name, code, err)
			}
		})
	}
}
