package ec2sim

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// session is a set of temporary credentials.
type session struct {
	secret  string
	token   string
	arn     string // of the assumed role
	id      string // of the role, a colon and the session's name
	expires time.Time
}

var (
	roleForm        = regexp.MustCompile(`^arn:aws:iam::([0-9]{12}):role/([\w+=,.@/-]+)$`)
	sessionNameForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// Bounds of a session's time, in seconds, and its default: AWS STS API
// Reference, AssumeRole.
const (
	minSession     = 900
	maxSession     = 43200
	defaultSession = 3600
	// maxSessions bounds the memory; each client keeps one for an hour.
	maxSessions = 1000
)

type assumeRoleInput struct {
	RoleARN  string      `query:"RoleArn,required"`
	Name     string      `query:"RoleSessionName,required"`
	Duration *int        `query:"DurationSeconds"`
	_        ignored     `query:"ExternalId SourceIdentity Tags TransitiveTagKeys ProvidedContexts"`
	_        unsimulated `query:"Policy PolicyArns SerialNumber TokenCode"`
}

type assumeRoleOutput struct {
	AccessKeyID string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
	Secret      string `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
	Token       string `xml:"AssumeRoleResult>Credentials>SessionToken"`
	Expiration  string `xml:"AssumeRoleResult>Credentials>Expiration"`
	ARN         string `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
	ID          string `xml:"AssumeRoleResult>AssumedRoleUser>AssumedRoleId"`
	RequestID   string `xml:"ResponseMetadata>RequestId"`
}

func (o *assumeRoleOutput) setRequestID(id string) { o.RequestID = id }

// assumeRole makes temporary credentials. Every role of the account is there,
// and everyone may assume it; those of other accounts, nobody.
func (c *call) assumeRole(in assumeRoleInput) (*assumeRoleOutput, error) {
	role := roleForm.FindStringSubmatch(in.RoleARN)
	seconds := defaultSession
	if in.Duration != nil {
		seconds = *in.Duration
	}
	switch {
	case role == nil:
		return nil, refuse("ValidationError", "%s is invalid", in.RoleARN)
	case !sessionNameForm.MatchString(in.Name):
		return nil, refuse("ValidationError", "The role session name %q is not 2 to 64 letters, digits and _+=,.@-", in.Name)
	case seconds < minSession || seconds > maxSession:
		return nil, refuse("ValidationError", "The duration of %s seconds is not from %d to %d", strconv.Itoa(seconds), minSession, maxSession)
	case role[1] != c.opts.AccountID:
		return nil, refuse("AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s",
			c.userARN(c.accessKeyID), in.RoleARN).withStatus(http.StatusForbidden)
	}
	for id, s := range c.sessions {
		if !c.now.Before(s.expires) {
			delete(c.sessions, id)
		}
	}
	if len(c.sessions) >= maxSessions {
		return nil, refuse("Throttling", "Rate exceeded")
	}
	roleID := "AROADORMOUSELOCAL0000"
	name := role[2][strings.LastIndex(role[2], "/")+1:] // without its path
	s := session{
		secret: randomText(30), token: randomText(96), expires: c.now.Add(time.Duration(seconds) * time.Second).Truncate(time.Second),
		arn: "arn:aws:sts::" + c.opts.AccountID + ":assumed-role/" + name + "/" + in.Name, id: roleID + ":" + in.Name,
	}
	key := "ASIA" + rand.Text()[:16]
	if c.sessions == nil {
		c.sessions = make(map[string]session)
	}
	c.sessions[key] = s
	return &assumeRoleOutput{
		AccessKeyID: key, Secret: s.secret, Token: s.token, Expiration: s.expires.UTC().Format(time.RFC3339), ARN: s.arn, ID: s.id,
	}, nil
}

// randomText is a secret of n random bytes.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// errAuthFailure is how EC2 refuses a key, a token or a secret, of which it
// does not tell which was wrong; the other services do.
func errAuthFailure() *fault {
	return refuse("AuthFailure", "AWS was not able to validate the provided access credentials").withStatus(http.StatusUnauthorized)
}

// secretOf finds the secret that belongs to a request's access key and session
// token, which temporary credentials have and others have not.
func (s *Server) secretOf(sig signature, token string, now time.Time) (string, error) {
	unknown := errAuthFailure()
	expired := refuse("RequestExpired", "Request has expired.")
	if sig.service != serviceEC2 {
		unknown = refuse("InvalidClientTokenId", "The security token included in the request is invalid.").withStatus(http.StatusForbidden)
		expired = refuse("ExpiredToken", "The security token included in the request is expired").withStatus(http.StatusForbidden)
	}
	if secret, ok := s.secrets[sig.accessKeyID]; ok && token == "" {
		return secret, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	temporary, ok := s.sessions[sig.accessKeyID]
	switch {
	case !ok || subtle.ConstantTimeCompare([]byte(temporary.token), []byte(token)) != 1:
		return "", unknown
	case !now.Before(temporary.expires):
		return "", expired
	}
	return temporary.secret, nil
}
