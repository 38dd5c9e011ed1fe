package ec2sim

import (
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// The credentials that the endpoint accepts unless it is given others. They
// guard nothing but this machine's own processes from confusion, so they are
// no secret.
const (
	DefaultAccessKeyID     = "dormouse"
	DefaultSecretAccessKey = "dormouse-local-endpoint"
)

// The images that every endpoint has.
const (
	// WorkerImageID boots `dormouse worker`, which finds its master, name and
	// password in the instance's user data.
	WorkerImageID = "ami-0d0c0ffee0000001a"
	// ScriptImageID runs its user data when that is a script ("#!"), as
	// cloud-init does.
	ScriptImageID = "ami-0d0c0ffee0000002a"
)

// The parameters that every endpoint's Parameter Store has: the ids of the
// images above, as AWS publishes its own.
const (
	WorkerParameter = "/dormouse/image/worker"
	ScriptParameter = "/dormouse/image/script"
)

// Credential is a pair of keys that requests may be signed with.
type Credential struct {
	AccessKeyID     string
	SecretAccessKey string
}

// Image is an AMI of the endpoint: what EC2 tells of it, and what boots.
type Image struct {
	ID       string // "ami-" and 8 or 17 hexadecimal digits
	Name     string // default: the ID
	Location string // default: the owner's id, a slash and the name
	// OwnerID is the account that owns the image, 12 digits; default: the
	// endpoint's own.
	OwnerID        string
	Public         bool
	State          string    // default "available"
	RootDeviceType string    // "ebs" (default) or "instance-store"
	Architecture   string    // "x86_64", which is the default, or "arm64"; programs run all the same
	Platform       string    // what EC2 bills it as, such as "SUSE Linux"; default "Linux/UNIX"
	Description    string    //
	CreationDate   time.Time // default: when the endpoint was made
	// BootCommand is what an instance runs; empty: its user data, when that is
	// a script.
	BootCommand []string
}

// Options configure an endpoint. The zero value is a working one.
type Options struct {
	// Region that the endpoint is; default "us-east-1". Requests signed for
	// another one are refused.
	Region string
	// AccountID is the account that all credentials belong to, 12 digits.
	AccountID string
	// Credentials that are accepted; default: the pair of constants above.
	Credentials []Credential
	// Images besides the built-in ones. One with a built-in id replaces it.
	Images []Image
	// Subnets besides those of the default VPC.
	Subnets []Subnet
	// SSMParameters are what an image id "resolve:ssm:NAME" is looked up in,
	// besides [WorkerParameter] and [ScriptParameter]: image ids by name.
	SSMParameters map[string]string
	// InstanceProfiles are the names that a launch may give its instances;
	// default: any.
	InstanceProfiles []string
	// WorkerExecutable is what the worker image runs with the arguments
	// `worker --from-user-data`; default: this program.
	WorkerExecutable string

	// Dir holds a directory for each instance; default: a new temporary one,
	// removed by Close.
	Dir string
	// KeepDirs leaves an instance's directory there after its termination.
	KeepDirs bool
	// PassEnv names variables of this process that machines get too.
	PassEnv []string

	// BootDelay is how long an instance is pending; default 2 s, negative: not
	// at all.
	BootDelay time.Duration
	// StopGrace is how long a machine's processes have between SIGTERM and
	// SIGKILL; default 2 s.
	StopGrace time.Duration
	// TerminatedVisible is how long a terminated instance is still described;
	// default one hour, as EC2's own.
	TerminatedVisible time.Duration
	// MaxInstances is how many instances may exist at once that have not ended;
	// default 64.
	MaxInstances int
	// VCPUQuotas are how many vCPUs of a group of instance types the account may
	// have in a market, by Service Quotas' codes ([dormouse.QuotaCode]); default:
	// no limit but MaxInstances.
	VCPUQuotas map[string]int

	// RateScale multiplies the rates of EC2's token buckets, which calls are
	// held to as EC2 documents them; default 1, negative: no limits.
	RateScale float64

	// Scenario is how the endpoint misbehaves from its start; default: not at
	// all. See [ParseScenario] and [Server.SetScenario].
	Scenario *Scenario

	// Boot starts machines; default: processes of this machine.
	Boot Boot
	// Logger is told of machines that misbehave; default: slog.Default.
	Logger *slog.Logger
}

const (
	defaultRegion    = "us-east-1" // where an AWS client goes that was told nothing
	defaultAccountID = "123456789012"
	// Long enough to be seen as pending, short enough to wait for.
	defaultBootDelay = 2 * time.Second
	// A worker needs well under a second to interrupt its command and go.
	defaultStopGrace = 2 * time.Second
	// "Terminated instances remain visible after termination for approximately
	// one hour": Amazon EC2 User Guide, "Terminate Amazon EC2 instances".
	defaultTerminatedVisible = time.Hour
	// An account's usual first quota, 64 vCPUs, and about what a small machine
	// can run as processes.
	defaultMaxInstances = 64
)

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	imageIDForm = regexp.MustCompile(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)
)

// withDefaults returns the options with every default filled in, or says what
// in them cannot be.
func (o Options) withDefaults() (Options, error) {
	setDefault(&o.Region, defaultRegion)
	setDefault(&o.AccountID, defaultAccountID)
	setDefault(&o.BootDelay, defaultBootDelay)
	setDefault(&o.StopGrace, defaultStopGrace)
	setDefault(&o.TerminatedVisible, defaultTerminatedVisible)
	setDefault(&o.MaxInstances, defaultMaxInstances)
	setDefault(&o.Logger, slog.Default())
	setDefault(&o.RateScale, 1)
	o.BootDelay, o.RateScale = max(o.BootDelay, 0), max(o.RateScale, 0)
	if len(o.Credentials) == 0 {
		o.Credentials = []Credential{{DefaultAccessKeyID, DefaultSecretAccessKey}}
	}
	if o.WorkerExecutable == "" {
		self, err := os.Executable()
		if err != nil {
			return o, dormouse.Errorf(dormouse.Invalid, "find this program for the worker image: %w", err)
		}
		o.WorkerExecutable = self
	}
	if !regionForm.MatchString(o.Region) {
		return o, dormouse.Errorf(dormouse.Invalid, "region %q does not look like a region; write for instance us-east-1", o.Region)
	}
	if !accountForm.MatchString(o.AccountID) {
		return o, dormouse.Errorf(dormouse.Invalid, "account id %q is not 12 digits", o.AccountID)
	}
	if o.MaxInstances < 0 {
		return o, dormouse.Errorf(dormouse.Invalid, "at most %d instances makes no sense", o.MaxInstances)
	}
	for _, c := range o.Credentials {
		if c.AccessKeyID == "" || c.SecretAccessKey == "" {
			return o, dormouse.Errorf(dormouse.Invalid, "credentials of the endpoint need an access key id and a secret access key")
		}
	}
	for _, n := range o.Subnets {
		if err := n.check(o.Region); err != nil {
			return o, err
		}
	}
	images := o.builtinImages()
	for _, img := range o.Images {
		if err := img.complete(o.AccountID); err != nil {
			return o, err
		}
		images = slices.DeleteFunc(images, func(have Image) bool { return have.ID == img.ID })
		images = append(images, img)
	}
	o.Images = images
	return o, nil
}

// complete fills in the image's defaults.
func (img *Image) complete(account string) error {
	if !imageIDForm.MatchString(img.ID) {
		return dormouse.Errorf(dormouse.Invalid,
			"image id %q is not \"ami-\" and 8 or 17 lower-case hexadecimal digits, for instance %s", img.ID, ScriptImageID)
	}
	setDefault(&img.Name, img.ID)
	setDefault(&img.OwnerID, account)
	setDefault(&img.Location, img.OwnerID+"/"+img.Name)
	setDefault(&img.State, "available")
	setDefault(&img.RootDeviceType, rootEBS)
	setDefault(&img.Architecture, archX86)
	if img.CreationDate.IsZero() {
		img.CreationDate = time.Now()
	}
	if !accountForm.MatchString(img.OwnerID) {
		return dormouse.Errorf(dormouse.Invalid, "owner %q of image %s is not 12 digits", img.OwnerID, img.ID)
	}
	if img.RootDeviceType != rootEBS && img.RootDeviceType != rootInstanceStore {
		return dormouse.Errorf(dormouse.Invalid,
			"root device type %q of image %s is neither %q nor %q", img.RootDeviceType, img.ID, rootEBS, rootInstanceStore)
	}
	return nil
}

func (o Options) builtinImages() []Image {
	images := []Image{
		{
			ID: WorkerImageID, Name: "dormouse-worker-1", Public: true,
			Description: "Boots a Dormouse worker that is configured by its user data",
			BootCommand: []string{o.WorkerExecutable, "worker", "--from-user-data"},
		},
		{
			ID: ScriptImageID, Name: "dormouse-script-1", Public: true,
			Description: "Runs its user data when that is a script",
		},
	}
	for i := range images {
		if err := images[i].complete(o.AccountID); err != nil {
			panic(fmt.Sprintf("built-in image: %v", err))
		}
	}
	return images
}

// setDefault gives a field its default where it has none.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
