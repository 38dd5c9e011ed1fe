package ec2sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// The root devices of images and their instances.
const (
	rootEBS           = "ebs"
	rootInstanceStore = "instance-store"
)

// The shutdown behaviours.
const (
	behaviourStop      = "stop"
	behaviourTerminate = "terminate"
)

// reason is why an instance is in its state: EC2's code and words.
type reason struct {
	code    string
	message string
}

// text is the reason as the ledger writes it; EC2's message repeats the code.
func (r reason) text() string { return r.message }

var (
	reasonPending   = reason{"pending", "pending"}
	reasonUser      = reason{"Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"}
	reasonMachine   = reason{"Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown"}
	reasonNotBooted = reason{"Server.InternalError", "Server.InternalError: Internal error on launch"}
	// "A Spot Instance was terminated due to an increase in the Spot price", as
	// EC2 says of every interruption.
	reasonSpotTermination = reason{"Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination"}
	reasonSpotPrice       = reason{"Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Instance terminated due to Spot price increase"}
	reasonEndpointClosed  = reason{"Server.ScheduledStop", "Server.ScheduledStop: The endpoint is shutting down"}
)

// instance is one instance, from its launch to long after its end. Server.mu
// guards what changes.
type instance struct {
	// Fixed at the launch.
	id          string
	sequence    int64 // order of launch
	reservation string
	index       int // within its launch
	launch      *launch
	image       Image
	kind        instanceType
	zone        zone
	market      dormouse.Market
	maxPrice    string // the bid, as it was given
	spotRequest string // id, when spot
	clientToken string
	askedBy     string
	keyName     string
	groups      []*securityGroup
	profile     *instanceProfile
	behaviour   string // at shutdown: stop or terminate
	userData    []byte
	metadata    metadataOptions
	tenancy     string
	monitoring  bool
	disks       []disk // that it comes with
	privateIP   string
	publicIP    string // "" for none
	protected   bool   // against TerminateInstances
	unreachable bool   // it has no public address but an elastic one
	interfaceID string
	launchedAt  time.Time
	console     *console
	ending      chan struct{} // closed when the machine must go

	// What the scenario does to it.
	fates       []fate
	refated     chan struct{} // holds one: the fates are others now
	rules       []string      // whose rules did something to it, by name
	neverBoots  string        // the rule that keeps its boot command from running
	visibleAt   time.Time     // until then calls do not find it
	losesTags   bool          // once it has ended, and untaggedIn has passed
	untaggedIn  time.Duration
	rebalanceAt time.Time // when it was recommended to leave it
	noticeAt    time.Time // when it was told that it is taken back
	reclaimAt   time.Time // when it is taken back, once that is announced

	// What happens to it.
	volumes      []*attachment
	process      Process // once it has booted
	state        dormouse.InstanceState
	stateReason  reason
	transition   string // EC2's second way to tell the reason
	runningAt    time.Time
	runningSince time.Time     // zero when it is not billed now
	billed       time.Duration // of earlier runs
	stoppingAt   time.Time
	restartedAt  time.Time // last, after it was stopped
	endedAt      time.Time
	endedBy      string // access key id
}

type instanceProfile struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

// metadataOptions are how an instance's metadata service may be used.
type metadataOptions struct {
	tokensRequired bool
	hopLimit       int
	disabled       bool
	ipv6           bool // answers at [fd00:ec2::254], too
	tags           bool
}

// minimumBilled is EC2's: "billed by the second, with a minimum of 60 seconds"
// for each time an instance starts (Amazon EC2 on-demand pricing).
const minimumBilled = time.Minute

// cost is what AWS would have charged until now, in US dollars.
func (inst *instance) cost(now time.Time) float64 {
	billed := inst.billed
	if !inst.runningSince.IsZero() {
		billed += inst.charged(now.Sub(inst.runningSince), false)
	}
	return billed.Hours() * inst.kind.pricePerHour
}

// charged is for how long a run is billed, by who ended it, if anybody: "Billing for
// interrupted Spot Instances" (Amazon EC2 User Guide).
func (inst *instance) charged(run time.Duration, byEC2 bool) time.Duration {
	byHour := strings.HasPrefix(inst.image.platform(), "SUSE")
	switch full := run.Truncate(time.Hour); {
	case byEC2 && (byHour || run < time.Hour):
		return full // what is not full is free, and so is all of a first hour
	case byEC2:
		return run
	case byHour && full < run:
		return full + time.Hour
	case byHour:
		return max(full, time.Hour)
	}
	return max(minimumBilled, run)
}

func (inst *instance) priceSource() string {
	if inst.market == dormouse.Spot {
		return priceSource + ", the most that spot would cost"
	}
	return priceSource
}

// stopBilling closes the run that is billed now.
func (inst *instance) stopBilling(now time.Time, why reason) {
	if inst.runningSince.IsZero() {
		return
	}
	inst.billed += inst.charged(now.Sub(inst.runningSince), why.code == reasonSpotTermination.code)
	inst.runningSince = time.Time{}
}

// stateCodes are the numbers that EC2 gives the states.
var stateCodes = map[dormouse.InstanceState]int{
	dormouse.InstancePending:      0,
	dormouse.InstanceRunning:      16,
	dormouse.InstanceShuttingDown: 32,
	dormouse.InstanceTerminated:   48,
	dormouse.InstanceStopping:     64,
	dormouse.InstanceStopped:      80,
}

// instanceState is a state in an answer.
type instanceState struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

func describeState(s dormouse.InstanceState) instanceState {
	return instanceState{stateCodes[s], string(s)}
}

func (inst *instance) privateName() string {
	return "ip-" + dashed(inst.privateIP) + ".ec2.internal"
}

func (inst *instance) publicName() string {
	if inst.publicIP == "" {
		return ""
	}
	return "ec2-" + dashed(inst.publicIP) + ".compute-1.amazonaws.com"
}

func dashed(ip string) string {
	b := []byte(ip)
	for i := range b {
		if b[i] == '.' {
			b[i] = '-'
		}
	}
	return string(b)
}

// addresses gives the n-th instance its addresses: a private one in its zone's
// subnet, and a public one of the range that RFC 2544 keeps for measurements,
// which is nobody's. Nothing answers at either: the machine's processes are on
// the loopback.
func addresses(z zone, n int64) (private, public string) {
	private = z.host(n)
	wide := n % (1 << 17)
	public = fmt.Sprintf("198.%d.%d.%d", 18+wide>>16, wide>>8&0xff, wide&0xff)
	return private, public
}
