package ec2sim

import (
	"slices"
	"strconv"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// spotRequest is a request for one spot instance: a legacy one, which waits
// until it is fulfilled, or that of a launch, which is from its start.
type spotRequest struct {
	sequence  int64
	id        string
	launch    runInstancesInput // what it asks for
	where     location
	askedBy   string
	createdAt time.Time
	until     time.Time // zero: for good

	state     string
	status    spotStatus
	updatedAt time.Time
	inst      *instance     // once it is fulfilled
	over      chan struct{} // closed when it is not open any more
}

// spotStatus is how far a request is: EC2's code and words.
type spotStatus struct {
	code    string
	message string
}

// The states of requests.
const (
	spotOpen      = "open"
	spotActive    = "active"
	spotClosed    = "closed"
	spotCancelled = "cancelled"
	spotFailed    = "failed"
)

var (
	statusEvaluation = spotStatus{"pending-evaluation", "Your Spot request has been submitted for review, and is pending evaluation."}
	statusFulfilled  = spotStatus{"fulfilled", "Your spot request is fulfilled."}
	statusPrice      = spotStatus{"price-too-low", "Your Spot request price is lower than the minimum required Spot request fulfillment price."}
	statusCapacity   = spotStatus{"capacity-not-available", "There is no Spot capacity available that matches your request."}
	statusExpired    = spotStatus{"schedule-expired", "Your Spot request was not fulfilled before the specified date."}
	statusCancelled  = spotStatus{"canceled-before-fulfillment", "Your spot request is canceled before it was fulfilled."}
	statusOrphaned   = spotStatus{"request-canceled-and-instance-running", "Your Spot request is canceled but your instance is still running."}
	statusMarked     = spotStatus{"marked-for-termination", "Your Spot instance is marked for termination."}
	statusUser       = spotStatus{"instance-terminated-by-user", "Your Spot instance was terminated by user."}
	statusOutbid     = spotStatus{"instance-terminated-by-price", "Your Spot instance was terminated because the Spot price exceeds your maximum price."}
	statusReclaimed  = spotStatus{"instance-terminated-no-capacity", "Your Spot instance was terminated because there is no longer any Spot capacity available."}
)

const (
	// spotEvaluation is how long a request is evaluated: long enough to be seen.
	spotEvaluation = time.Second
	// spotRetry is how often an open request is evaluated again.
	spotRetry = 5 * time.Second
)

// now returns what a request is, which its instance's end closes.
func (r *spotRequest) now() (state string, status spotStatus, updated time.Time) {
	if r.inst == nil || !r.inst.state.Dying() && !r.inst.state.Ended() {
		if r.inst != nil && !r.inst.reclaimAt.IsZero() {
			return r.state, statusMarked, r.inst.noticeAt
		}
		return r.state, r.status, r.updatedAt
	}
	status = statusUser
	switch r.inst.stateReason {
	case reasonSpotTermination:
		status = statusReclaimed
	case reasonSpotPrice:
		status = statusOutbid
	}
	if r.state == spotCancelled {
		return spotCancelled, status, r.inst.stoppingAt
	}
	return spotClosed, status, r.inst.stoppingAt
}

// become moves an open request on.
func (r *spotRequest) become(state string, status spotStatus, now time.Time) {
	if r.status != status {
		r.updatedAt = now
	}
	r.status = status
	if r.state == spotOpen && state != spotOpen {
		close(r.over)
	}
	r.state = state
}

func (c *cloud) spotRequest(id string) (*spotRequest, bool) {
	i := slices.IndexFunc(c.spots, func(r *spotRequest) bool { return r.id == id })
	if i < 0 {
		return nil, false
	}
	return c.spots[i], true
}

// addSpotRequest makes room for a request, as the oldest ones that are over are
// forgotten after a while, like instances.
func (c *call) addSpotRequest(r *spotRequest) {
	r.sequence, r.id, r.createdAt, r.updatedAt, r.askedBy = c.nextSequence(), newID("sir"), c.now, c.now, c.accessKeyID
	r.over = make(chan struct{})
	crowded := len(c.spots) >= maxVisibleEnded
	c.spots = slices.DeleteFunc(c.spots, func(old *spotRequest) bool {
		state, _, updated := old.now()
		if state == spotOpen || state == spotActive || !crowded && c.now.Sub(updated) < c.opts.TerminatedVisible {
			return false
		}
		delete(c.tags, old.id)
		return true
	})
	c.spots = append(c.spots, r)
}

// boughtNow is the request of an instance that a launch bought.
func (c *call) boughtNow(inst *instance, in runInstancesInput) {
	r := &spotRequest{state: spotActive, status: statusFulfilled, inst: inst, launch: in, where: location{zone: inst.zone}}
	r.launch.UserData = nil // the request does not tell it
	c.addSpotRequest(r)
	inst.spotRequest = r.id
	c.tag(r.id, tagsFor(in.TagSpecifications, "spot-instances-request"))
}

// leaveOpen keeps the request of a launch that was refused, where the scenario
// says so: it may be fulfilled later.
func (c *call) leaveOpen(in runInstancesInput, template instance, where location, tags []tag) {
	if template.market != dormouse.Spot || c.dryRun {
		return
	}
	s := subject{zone: where.zone.name, instanceType: template.kind.name, market: template.market, tags: tagMap(tags)}
	for range c.playing.struck(doLeaveOpen, s, c.now) {
		r := &spotRequest{state: spotOpen, status: statusPrice, launch: in, where: where}
		c.addSpotRequest(r)
		c.tag(r.id, tagsFor(in.TagSpecifications, "spot-instances-request"))
		c.machines.Go(func() { c.evaluate(r) })
		return
	}
}

// evaluate fulfils a request as soon as that is possible, if it stays open so
// long.
func (s *Server) evaluate(r *spotRequest) {
	timer := time.NewTimer(spotEvaluation)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-r.over:
			return
		case <-s.ctx.Done():
			return
		}
		if s.tryToFulfil(r) {
			return
		}
		timer.Reset(spotRetry)
	}
}

// tryToFulfil launches the instance of an open request, and reports whether the
// request is over. Nothing is decided by what was true when it was made: the
// price, the capacity and the image may be others by now.
func (s *Server) tryToFulfil(r *spotRequest) (over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.state != spotOpen {
		return true
	}
	c := &call{Server: s, action: "RequestSpotInstances", accessKeyID: r.askedBy, now: time.Now()}
	if !r.until.IsZero() && !c.now.Before(r.until) {
		r.become(spotCancelled, statusExpired, c.now)
		return true
	}
	template, err := c.plan(r.launch, r.where.zone)
	if err != nil {
		r.become(spotFailed, spotStatus{"bad-parameters", err.Error()}, c.now)
		return true
	}
	if _, err := c.admit(1, 1); err != nil {
		r.become(spotOpen, statusCapacity, c.now)
		return false
	}
	tags := tagsFor(r.launch.TagSpecifications, "instance") // of a launch that was refused
	if _, err := c.fulfil(&template, r.where, tags, 1, 1); err != nil {
		r.become(spotOpen, statusCapacity, c.now)
		if f, ok := err.(*fault); ok && f.code == "SpotMaxPriceTooLow" { //nolint:errorlint // fulfil wraps nothing
			r.become(spotOpen, statusPrice, c.now)
		}
		return false
	}
	template.spotRequest = r.id
	l := &launch{reservation: newID("r"), living: 1}
	inst := c.build(template, l, 0)
	c.tag(inst.id, tags)
	c.furnish(inst, tagsFor(r.launch.TagSpecifications, "volume"))
	l.instances = []*instance{inst}
	c.begin(inst)
	r.inst, r.launch.UserData = inst, nil
	r.become(spotActive, statusFulfilled, c.now)
	return true
}

type requestSpotInstancesInput struct {
	Price             string             `query:"SpotPrice"`
	Count             *int               `query:"InstanceCount"`
	Type              string             `query:"Type"`
	ValidUntil        string             `query:"ValidUntil"`
	ClientToken       string             `query:"ClientToken"`
	Interruption      string             `query:"InstanceInterruptionBehavior"`
	Launch            spotSpecification  `query:"LaunchSpecification,required"`
	TagSpecifications []tagSpecification `query:"TagSpecification"`
	_                 unsimulated        `query:"AvailabilityZoneGroup BlockDurationMinutes LaunchGroup ValidFrom"`
}

type spotSpecification struct {
	ImageID           string             `query:"ImageId"`
	InstanceType      string             `query:"InstanceType"`
	KeyName           string             `query:"KeyName"`
	Groups            []string           `query:"SecurityGroup"`
	GroupIDs          []string           `query:"SecurityGroupId"`
	UserData          blob               `query:"UserData"`
	Placement         placementInput     `query:"Placement"`
	SubnetID          string             `query:"SubnetId"`
	NetworkInterfaces []interfaceInput   `query:"NetworkInterface"`
	BlockDevices      []blockDeviceInput `query:"BlockDeviceMapping"`
	Profile           *profileInput      `query:"IamInstanceProfile"`
	Monitoring        struct {
		Enabled bool `query:"Enabled"`
	} `query:"Monitoring"`
	_ ignored     `query:"EbsOptimized"`
	_ unsimulated `query:"AddressingType KernelId RamdiskId"`
}

type spotRequestsOutput struct {
	reply
	Requests  set[spotAnswer] `xml:"spotInstanceRequestSet"`
	NextToken string          `xml:"nextToken,omitempty"`
}

// maxSpotRequest is how many instances one call may ask for.
const maxSpotRequest = maxLaunch

// requestSpotInstances makes requests that are evaluated, and perhaps
// fulfilled, later.
func (c *call) requestSpotInstances(in requestSpotInstancesInput) (*spotRequestsOutput, error) {
	count := 1
	if in.Count != nil {
		count = *in.Count
	}
	if count < 1 || count > maxSpotRequest {
		return nil, invalidValue("instanceCount", strconv.Itoa(count), "Expecting 1 to "+strconv.Itoa(maxSpotRequest)+".")
	}
	until, err := parseTime("ValidUntil", in.ValidUntil)
	if err != nil {
		return nil, err
	}
	if in.ClientToken != "" {
		if earlier := c.spotCalls[in.ClientToken]; earlier != nil {
			if earlier.fingerprint != c.fingerprint {
				return nil, errIdempotentMismatch()
			}
			return &spotRequestsOutput{Requests: newSet(earlier.requests, c.describeSpot)}, nil
		}
	}
	if err := checkTagSpecifications(in.TagSpecifications, "spot-instances-request"); err != nil {
		return nil, err
	}
	spec := in.Launch
	run := runInstancesInput{
		ImageID: spec.ImageID, InstanceType: spec.InstanceType, KeyName: spec.KeyName, Groups: spec.Groups, GroupIDs: spec.GroupIDs,
		UserData: spec.UserData, Placement: spec.Placement, SubnetID: spec.SubnetID, NetworkInterfaces: spec.NetworkInterfaces,
		BlockDevices: spec.BlockDevices, Profile: spec.Profile, Monitoring: spec.Monitoring,
		Market: &marketInput{Type: string(dormouse.Spot)},
	}
	run.Market.Spot.MaxPrice, run.Market.Spot.Type, run.Market.Spot.Interruption = in.Price, in.Type, in.Interruption
	where, err := c.place(&run)
	if err != nil {
		return nil, err
	}
	if _, err := c.plan(run, where.zone); err != nil {
		return nil, err
	}
	open := 0
	for _, r := range c.spots {
		if r.state == spotOpen {
			open++
		}
	}
	if c.shut || open+count > maxOpenSpots {
		return nil, refuse("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	var made []*spotRequest
	for range count {
		r := &spotRequest{state: spotOpen, status: statusEvaluation, launch: run, where: where, until: until}
		c.addSpotRequest(r)
		c.tag(r.id, tagsFor(in.TagSpecifications, "spot-instances-request"))
		made = append(made, r)
		c.machines.Go(func() { c.evaluate(r) })
	}
	if in.ClientToken != "" {
		c.rememberSpotCall(in.ClientToken, &spotCall{c.fingerprint, c.now, made})
	}
	return &spotRequestsOutput{Requests: newSet(made, c.describeSpot)}, nil
}

// maxOpenSpots bounds the requests that wait, each with a goroutine and up to
// 16 KiB of user data.
const maxOpenSpots = 1000
