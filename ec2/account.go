package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/url"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/dormouse-ci/dormouse"
)

// DefaultRegion is the region of a configuration that names none anywhere, as
// in Buildbot.
const DefaultRegion = "us-east-1"

// Session says with whose rights, and through which endpoint, EC2 is called.
// The zero Session uses the SDK's own chain: environment, shared files,
// container and instance roles. Sessions are comparable; equal ones share an
// account.
type Session struct {
	AccessKeyID     string // both keys or neither
	SecretAccessKey string
	SessionToken    string
	Profile         string // a profile of the shared configuration files
	Region          string // used where the worker names no region
	EndpointURL     string // in place of AWS's own, for EC2, STS and the Price List
	RoleARN         string // a role to assume with the credentials above
	ExternalID      string // what that role's trust policy asks for
}

// Deployment is the identity of one installation of Dormouse. Everything it
// starts is tagged with ID, and it sees and ends nothing that is not.
type Deployment struct {
	ID string
}

// Account is EC2 in one region with one session's rights. It is safe for
// concurrent use, starts no goroutine that outlives a call, and needs no
// closing.
type Account struct {
	key        string
	region     string
	endpoint   string // "" for AWS's own
	deployment string
	api        operations
	log        *slog.Logger

	images    imageListings
	keypairs  onceEach[struct{}]
	groups    onceEach[string] // security group ids by name
	spotMeans spotPriceCache
	prices    priceCache

	// elsewhere opens the account in a region that is certain to exist.
	elsewhere func(context.Context) (*Account, error)

	volumeWatch volumeWatch
	volumeZones onceEach[string] // by the volumes' ids
	subnetZones onceEach[string] // by the subnet's id

	// interfaced are the launch templates that name a network interface: their
	// launches make none, and EC2 takes no tags for one.
	interfaced sync.Map // by template
}

type options struct {
	httpClient *http.Client
	log        *slog.Logger
	count      func(action string)
	rateScale  float64
	rates      map[string]Rate
}

// Option changes how [Open] sets an account up.
type Option func(*options)

// WithHTTPClient sends the calls through c, which must not follow redirects
// to other hosts with the signature still on.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.httpClient = c } }

// WithLogger logs each call, at debug level, to l.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithCallCounter calls count, from many goroutines, for each request that is
// about to go out, retries included, with its action's name.
func WithCallCounter(count func(action string)) Option {
	return func(o *options) { o.count = count }
}

// WithRateScale multiplies the documented rates of all token buckets, for an
// account whose limits AWS has raised, or one that others use too. Zero or
// less takes the limits away.
func WithRateScale(scale float64) Option { return func(o *options) { o.rateScale = scale } }

// WithRates overrides the documented rates of single actions, by their names in
// [Actions].
func WithRates(rates map[string]Rate) Option { return func(o *options) { o.rates = rates } }

// Open prepares calls to EC2 in a region ("" for the session's, else the
// environment's, else [DefaultRegion]). It calls nobody: credentials that are
// missing or refused show at the first call, as [dormouse.Configuration].
func Open(ctx context.Context, s Session, region string, d Deployment, opts ...Option) (*Account, error) {
	o := options{log: slog.New(slog.DiscardHandler), count: func(string) {}, rateScale: 1}
	for _, opt := range opts {
		opt(&o)
	}
	if d.ID == "" {
		return nil, dormouse.Errorf(dormouse.Internal, "the EC2 provider needs a deployment id to tag instances with")
	}
	if (s.AccessKeyID == "") != (s.SecretAccessKey == "") {
		return nil, dormouse.Errorf(dormouse.Configuration,
			"AWS credentials: give both identifier and secret_identifier, or neither")
	}
	cfg, err := loadConfig(ctx, s, region, o)
	if err != nil {
		return nil, err
	}
	a := &Account{
		region:     cfg.Region,
		deployment: d.ID,
		log:        o.log,
	}
	a.elsewhere = func(ctx context.Context) (*Account, error) {
		s.Region = DefaultRegion
		return Open(ctx, s, DefaultRegion, d, opts...)
	}
	if cfg.BaseEndpoint != nil {
		a.endpoint = *cfg.BaseEndpoint
		if u, err := url.Parse(a.endpoint); err == nil {
			a.endpoint = u.Redacted() // it stands in messages
		}
	}
	a.key = accountKey(s, a.region)
	a.api = newOperations(cfg, &transit{
		limits: newLimits(o.rateScale, o.rates),
		count:  o.count,
		log:    o.log.With("account", a.key),
	})
	return a, nil
}

func loadConfig(ctx context.Context, s Session, region string, o options) (aws.Config, error) {
	load := []func(*awsconfig.LoadOptions) error{awsconfig.WithLogger(logging.Nop{})} // it would write to stderr
	if region == "" {
		region = s.Region
	}
	if region != "" {
		load = append(load, awsconfig.WithRegion(region))
	}
	if s.Profile != "" {
		load = append(load, awsconfig.WithSharedConfigProfile(s.Profile))
	}
	if s.AccessKeyID != "" {
		load = append(load, awsconfig.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(s.AccessKeyID, s.SecretAccessKey, s.SessionToken)))
	}
	if s.EndpointURL != "" {
		load = append(load, awsconfig.WithBaseEndpoint(s.EndpointURL))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return cfg, dormouse.Errorf(dormouse.Configuration,
			"AWS configuration cannot be read (profile and region stand in ~/.aws/config, keys in ~/.aws/credentials): %w", err)
	}
	if o.httpClient != nil {
		// Not as an option of the loading, which refuses a client that it can
		// not add AWS_CA_BUNDLE to.
		cfg.HTTPClient = o.httpClient
	}
	if cfg.Region == "" {
		cfg.Region = DefaultRegion
	}
	if !dormouse.IsRegion(cfg.Region) {
		return cfg, dormouse.Errorf(dormouse.Configuration,
			"%q is not the name of an AWS region: they look like us-east-1", cfg.Region)
	}
	if s.RoleARN != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(
			sts.NewFromConfig(cfg), s.RoleARN, func(r *stscreds.AssumeRoleOptions) {
				r.RoleSessionName = "dormouse"
				if s.ExternalID != "" {
					r.ExternalID = &s.ExternalID
				}
			}))
	}
	if cfg.Credentials != nil {
		cfg.Credentials = guardedCredentials{cfg.Credentials}
	}
	return cfg, nil
}

// accountKey names a session and region without telling its secrets, and the
// same after a restart: rows of the store refer to it.
func accountKey(s Session, region string) string {
	s.SecretAccessKey, s.SessionToken, s.Region = "", "", ""
	if s == (Session{}) {
		return region + "/default"
	}
	sum := hashParts(s.AccessKeyID, s.Profile, s.EndpointURL, s.RoleARN, s.ExternalID)
	// 48 bits tell apart the handful of sessions of a configuration.
	return region + "/" + sum[:12]
}

// hashParts hashes strings so that no two different lists give the same text.
func hashParts(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Key names the account where records and messages refer to it: stable over
// restarts, and without secrets.
func (a *Account) Key() string { return a.key }

// Region is the region all calls go to.
func (a *Account) Region() string { return a.region }

// guardedCredentials marks what the credentials chain says when it has none,
// so that it can be told from what EC2 says.
type guardedCredentials struct{ aws.CredentialsProvider }

func (g guardedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := g.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return c, &credentialsError{err}
	}
	return c, nil
}

type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }
