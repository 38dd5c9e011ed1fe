package config

import (
	"errors"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/dormouse-ci/dormouse"
)

var sessionClass = register(&class{
	name: "boto3.Session", from: "boto3.session",
	positional: 6, // boto3's own parameters, in its order
	params: []param{
		{name: "aws_access_key_id", secret: true},
		{name: "aws_secret_access_key", secret: true},
		{name: "aws_session_token", secret: true},
		{name: "region_name"},
		{name: "botocore_session", support: later, advice: "use the other arguments, or the environment's credentials"},
		{name: "profile_name"},
		{name: "role_arn"},
		{name: "external_id"},
		{name: "endpoint_url"},
	},
	read: readBoto3Session,
})

// readSession reads where a worker's credentials come from: its own arguments, or
// the session it is given, not both.
func readSession(a arguments) (s Session) {
	if f, ok := a.some("session"); ok {
		o, isObject := f.v.(*object)
		if !isObject || o.class != sessionClass {
			f.bad("made by boto3.session.Session")
			return s
		}
		for _, name := range []string{"identifier", "secret_identifier", "aws_id_file_path"} {
			if a.given(name) {
				a.errorf(name, "the session brings its own credentials", "%s cannot stand beside session", name)
			}
		}
		s, _ = a.r.value(o).(Session)
		return s
	}
	if f, ok := a.some("aws_id_file_path"); ok {
		if a.given("identifier") || a.given("secret_identifier") {
			a.errorf("aws_id_file_path", "", "aws_id_file_path cannot stand beside identifier and secret_identifier")
			return s
		}
		if path, ok := f.text(); ok {
			return readIDFile(a, path)
		}
		return s
	}
	checkBoth(a, "identifier", "secret_identifier")
	return Session{Identifier: readAccessKey(a, "identifier"), SecretIdentifier: readAccessKey(a, "secret_identifier")}
}

// readAccessKey reads half of a pair of keys. White space in it comes from careless
// copying, and EC2 would only say that the signature does not match.
func readAccessKey(a arguments, name string) string {
	key := a.secretText(name)
	if strings.ContainsFunc(key, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		a.errorf(name, "", "%s has white space in it", name)
	}
	return key
}

// checkBoth reports when one of two arguments is given without the other.
func checkBoth(a arguments, x, y string) {
	if a.given(y) && !a.given(x) {
		x, y = y, x
	}
	if a.given(x) && !a.given(y) {
		a.errorf(x, "give both, or neither to use the credentials of the environment", "%s is given without %s", x, y)
	}
}

func readBoto3Session(a arguments) any {
	s := Session{
		Identifier:       readAccessKey(a, "aws_access_key_id"),
		SecretIdentifier: readAccessKey(a, "aws_secret_access_key"),
		SessionToken:     readAccessKey(a, "aws_session_token"),
		Profile:          a.text("profile_name", ""),
		Region:           a.text("region_name", ""),
		EndpointURL:      readEndpoint(a),
		RoleARN:          a.text("role_arn", ""),
		ExternalID:       a.text("external_id", ""),
	}
	checkBoth(a, "aws_access_key_id", "aws_secret_access_key")
	if s.SessionToken != "" && !a.given("aws_access_key_id") {
		a.errorf("aws_session_token", "", "aws_session_token is given without aws_access_key_id")
	}
	if s.Region != "" && !dormouse.IsRegion(s.Region) {
		f, _ := a.field("region_name")
		f.bad("a region's name, such as 'eu-central-1'")
	}
	if s.RoleARN != "" && !strings.HasPrefix(s.RoleARN, "arn:") {
		f, _ := a.field("role_arn")
		f.bad("a role's ARN, such as 'arn:aws:iam::123456789012:role/builder'")
	}
	if s.ExternalID != "" && !a.given("role_arn") {
		a.errorf("external_id", "", "external_id is given without role_arn")
	}
	return s
}

func readEndpoint(a arguments) string {
	endpoint := a.text("endpoint_url", "")
	if endpoint == "" {
		return ""
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		f, _ := a.field("endpoint_url")
		f.secret = true // a URL may carry a password
		f.bad("an http or https URL")
	}
	return endpoint
}

// readIDFile reads the old file of two lines, access key and secret key.
func readIDFile(a arguments, path string) (s Session) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(a.r.opts.BaseDir, path)
	}
	a.r.warnf(a.at("aws_id_file_path"), "use the credentials file of AWS (~/.aws/credentials), a role, or util.Secret", "%s: aws_id_file_path is deprecated", a.o.class.name)
	text, err := readSecret(path)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		a.errorf("aws_id_file_path", "", "%s cannot be read: %s", path, err)
		return s
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 2 || strings.TrimSpace(lines[0]) == "" || strings.TrimSpace(lines[1]) == "" {
		a.errorf("aws_id_file_path", "", "%s must have two lines: the access key id and the secret access key", path)
		return s
	}
	s.Identifier, s.SecretIdentifier = strings.TrimSpace(lines[0]), strings.TrimSpace(lines[1])
	return s
}
