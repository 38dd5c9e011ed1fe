package config

import (
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Master is a whole, valid configuration.
type Master struct {
	File    string // as it was named to [Load] or [Parse]
	BaseDir string // what relative paths are relative to

	Title       string
	TitleURL    string
	BuildbotURL string // always ends in a slash; empty when it was not given

	Protocols Protocols
	WWW       WWW
	DB        DB
	// CollapseRequests is the default that builders which do not say have
	// already taken over.
	CollapseRequests bool
	// MaxRetries is the default that builders which do not say have already taken
	// over.
	MaxRetries int
	Properties map[string]any // c['properties'], for every build
	Budget     Budget
	EC2Rates   map[string]Rate // by action

	MailNotifiers   []MailNotifier
	Workers         []Worker
	Builders        []dormouse.Builder
	ForceSchedulers []dormouse.ForceScheduler
	Triggerables    []dormouse.Triggerable

	// Secrets is where util.Secret and %(secret:…)s are looked up.
	Secrets Secrets
	// Warnings are about what is legal but probably not meant, sorted by
	// position.
	Warnings []Error
}

// Protocols says where workers attach.
type Protocols struct {
	// MsgpackListen is the address, "host:port", for Buildbot's
	// msgpack_experimental_v7. Port 0 takes any free one.
	MsgpackListen string
	TLS           TLS `json:",omitzero"`
	// CA is the file of the certificates by which machines that install the agent
	// know the master; empty: those that their image trusts.
	CA string `json:",omitzero"`
}

// TLS is where a port's certificate and its key are, as files in PEM; both are
// empty where it has none.
type TLS struct {
	Certificate string
	Key         string
}

// On reports whether there is a certificate.
func (t TLS) On() bool { return t.Certificate != "" }

// WWW says where the REST API is served.
type WWW struct {
	Listen string // "host:port"; empty when it is not served
	TLS    TLS    `json:",omitzero"`
}

// DB is where durable state is kept.
type DB struct {
	Driver string // "sqlite" or "postgresql"
	// URL is as it was configured; it may hold a password.
	URL  string
	Path string // SQLite's file, absolute unless BaseDir is not
}

// Budget is what instances may cost, all workers together. A cap that was not
// given is nil.
type Budget struct {
	PerHour *float64 // US dollars an hour of all that runs at one time
	PerDay  *float64 // US dollars of one day
}

// Worker is a configured worker.
type Worker struct {
	Name              string
	Password          string
	MaxBuilds         int           // builds at a time; 0 is no limit
	MissingTimeout    time.Duration // 0, of a worker that is not latent, is never
	NotifyOnMissing   []string      // mail addresses
	NotifyPos         string        `json:"-"` // where those stand, "file:line:column"
	KeepaliveInterval time.Duration // 0 is never
	Properties        map[string]any
	DefaultProperties map[string]any
	Locks             []dormouse.LockAccess // each build on it holds
	// EC2 is set when the worker is latent.
	EC2 *EC2LatentWorker
	// Pos is where the worker is constructed, "file:line:column".
	Pos string
}

// EC2LatentWorker is what a worker needs beyond [Worker] to be started on EC2.
// An empty string, list or nil means that the argument was not given.
type EC2LatentWorker struct {
	InstanceTypes []string // at least one; tried in turn

	AMI string
	// AMISSMParameter is the name or ARN of the parameter in the Systems
	// Manager's store that holds the image's id; a version or label may follow
	// after a colon.
	AMISSMParameter string
	// With neither, the image is chosen by one or more of:
	// ValidAMIOwners are account numbers of 12 digits.
	ValidAMIOwners []string
	// ValidAMILocationRegex matches from the start of the image's location; it
	// is known to compile.
	ValidAMILocationRegex string
	// AMIFilters are filters of DescribeImages, by name, each with the values
	// of which one must match.
	AMIFilters map[string][]string

	LaunchTemplate LaunchTemplate

	ElasticIP        string
	KeypairName      string
	SecurityName     string
	SecurityGroupIDs []string
	SubnetIDs        []string // tried in turn
	// AssociatePublicIPAddress is nil when not given: then the subnet decides.
	AssociatePublicIPAddress *bool
	// Region is the worker's, else its session's; when empty it is what the
	// AWS SDK finds, and us-east-1 when that is nothing.
	Region    string
	Placement string // a zone's letter, or its whole name
	// UserData is a string, or a Renderable of package expr that yields one; nil for
	// none.
	UserData any
	// Bootstrap is "cloud-init" when the user data is to install the agent; then
	// UserData is nil.
	Bootstrap string

	// BuildWaitTimeout is how long an idle instance is kept: 0 not at all,
	// negative until the master stops.
	BuildWaitTimeout      time.Duration
	OnShutdown            string        // "terminate" or "keep": what becomes of it when the master stops
	MissingTimeout        time.Duration // the same as in Worker
	CheckInstanceInterval time.Duration

	Session Session

	SpotInstance bool
	// MaxSpotPrice (US dollars an hour) and PriceMultiplier (of the average
	// price) are nil when they were set to None, never both on a spot instance.
	MaxSpotPrice        *float64
	PriceMultiplier     *float64
	ProductDescription  string
	FallbackToOnDemand  bool
	Instances           int      // how many workers this definition stands for, at least 1; from 2 on they are NAME-1, NAME-2, …
	PricePerHour        *float64 // on demand, in US dollars; nil when not given
	Volumes             []Volume
	BlockDeviceMap      []map[string]any // keys and values as in EC2's API
	Tags                map[string]string
	InstanceProfileName string

	// Pos is where each argument that was given stands, "file:line:column".
	Pos map[string]string
}

// LaunchTemplate is the launch template that instances start from. Either ID or
// Name is set, or, where there is no template, neither.
type LaunchTemplate struct {
	ID      string
	Name    string
	Version string // a number, "$Latest" or "$Default"; empty when not given
}

// Session is where AWS credentials come from. It is comparable: workers whose
// sessions are equal share their client.
type Session struct {
	Identifier       string // access key id
	SecretIdentifier string // secret access key
	SessionToken     string
	Profile          string // of the shared AWS files
	Region           string
	EndpointURL      string
	RoleARN          string // role to assume
	ExternalID       string // to assume it with
}

// Volume is an EBS volume to attach, and the device to attach it as.
type Volume struct {
	ID     string
	Device string
}
