package ec2sim

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// linuxProduct is what all images here are.
const linuxProduct = "Linux/UNIX"

// spotCall is a RequestSpotInstances call with a client token.
type spotCall struct {
	fingerprint [sha256.Size]byte
	at          time.Time
	requests    []*spotRequest
}

// rememberSpotCall keeps a call for as long as its token counts.
func (c *call) rememberSpotCall(token string, made *spotCall) {
	crowded := len(c.spotCalls) >= maxVisibleEnded
	for old, earlier := range c.spotCalls {
		if crowded || c.now.Sub(earlier.at) >= tokenLife {
			delete(c.spotCalls, old)
		}
	}
	if c.spotCalls == nil {
		c.spotCalls = make(map[string]*spotCall)
	}
	c.spotCalls[token] = made
}

type spotAnswer struct {
	ID           string     `xml:"spotInstanceRequestId"`
	Price        string     `xml:"spotPrice"`
	Type         string     `xml:"type"`
	State        string     `xml:"state"`
	StatusCode   string     `xml:"status>code"`
	StatusTime   string     `xml:"status>updateTime"`
	StatusText   string     `xml:"status>message"`
	ImageID      string     `xml:"launchSpecification>imageId"`
	KeyName      string     `xml:"launchSpecification>keyName,omitempty"`
	Groups       set[named] `xml:"launchSpecification>groupSet"`
	InstanceType string     `xml:"launchSpecification>instanceType"`
	Zone         string     `xml:"launchSpecification>placement>availabilityZone,omitempty"`
	SubnetID     string     `xml:"launchSpecification>subnetId,omitempty"`
	Monitoring   bool       `xml:"launchSpecification>monitoring>enabled"`
	InstanceID   string     `xml:"instanceId,omitempty"`
	CreateTime   string     `xml:"createTime"`
	Product      string     `xml:"productDescription"`
	Tags         set[tag]   `xml:"tagSet"`
	LaunchedZone string     `xml:"launchedAvailabilityZone,omitempty"`
	ValidUntil   string     `xml:"validUntil,omitempty"`
	Interruption string     `xml:"instanceInterruptionBehavior"`
}

// named is a security group of a request: those that it gave by name have no
// id here.
type named struct {
	ID   string `xml:"groupId,omitempty"`
	Name string `xml:"groupName,omitempty"`
}

func (c *call) describeSpot(r *spotRequest) spotAnswer {
	state, status, updated := r.now()
	a := spotAnswer{
		ID: r.id, Price: r.price(), Type: "one-time", State: state,
		StatusCode: status.code, StatusTime: stamp(updated), StatusText: status.message,
		ImageID: r.launch.ImageID, KeyName: r.launch.KeyName, InstanceType: r.instanceType(), Zone: r.where.named,
		SubnetID: r.launch.SubnetID, Monitoring: r.launch.Monitoring.Enabled, CreateTime: stamp(r.createdAt),
		Product: linuxProduct, Tags: c.describeTags(r.id), ValidUntil: stamp(r.until), Interruption: behaviourTerminate,
	}
	for _, name := range r.launch.Groups {
		a.Groups.Items = append(a.Groups.Items, named{Name: name})
	}
	for _, id := range r.launch.GroupIDs {
		a.Groups.Items = append(a.Groups.Items, named{ID: id})
	}
	if r.inst != nil {
		a.InstanceID, a.LaunchedZone = r.inst.id, r.inst.zone.name
	}
	return a
}

func (r *spotRequest) instanceType() string {
	if r.launch.InstanceType == "" {
		return defaultInstanceType
	}
	return r.launch.InstanceType
}

// price is the most that a request pays: where it says nothing, the on-demand
// price.
func (r *spotRequest) price() string {
	if bid := r.launch.Market.Spot.MaxPrice; bid != "" {
		return bid
	}
	t, _ := typeNamed(r.instanceType())
	return writePrice(t.pricePerHour)
}

// writePrice is a price as EC2 writes spot prices.
func writePrice(dollars float64) string { return fmt.Sprintf("%.6f", dollars) }

// parseTime reads a time parameter; zero for none.
func parseTime(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, invalidValue(name, text, "Expecting a time as 2006-01-02T15:04:05Z.")
	}
	return at, nil
}

var spotFields = fields[*spotRequest]{
	"spot-instance-request-id":   one(func(r *spotRequest) string { return r.id }),
	"state":                      one(func(r *spotRequest) string { state, _, _ := r.now(); return state }),
	"status-code":                one(func(r *spotRequest) string { _, status, _ := r.now(); return status.code }),
	"status-message":             one(func(r *spotRequest) string { _, status, _ := r.now(); return status.message }),
	"type":                       one(func(*spotRequest) string { return "one-time" }),
	"spot-price":                 one((*spotRequest).price),
	"product-description":        one(func(*spotRequest) string { return linuxProduct }),
	"create-time":                one(func(r *spotRequest) string { return stamp(r.createdAt) }),
	"launch.image-id":            one(func(r *spotRequest) string { return r.launch.ImageID }),
	"launch.instance-type":       one((*spotRequest).instanceType),
	"launch.key-name":            one(func(r *spotRequest) string { return r.launch.KeyName }),
	"availability-zone-group":    one(func(*spotRequest) string { return "" }),
	"instance-id":                ofSpotInstance(func(i *instance) string { return i.id }),
	"launched-availability-zone": ofSpotInstance(func(i *instance) string { return i.zone.name }),
}

func ofSpotInstance(f func(*instance) string) func(*spotRequest) []string {
	return func(r *spotRequest) []string {
		if r.inst == nil {
			return nil
		}
		return []string{f(r.inst)}
	}
}

type describeSpotInstanceRequestsInput struct {
	paging
	IDs     []string `query:"SpotInstanceRequestId"`
	Filters []filter `query:"Filter"`
}

func (c *call) describeSpotInstanceRequests(in describeSpotInstanceRequestsInput) (*spotRequestsOutput, error) {
	if len(in.IDs) > 0 && in.MaxResults != nil {
		return nil, refuse("InvalidParameterCombination",
			"The parameter SpotInstanceRequestId cannot be used with the parameter maxResults")
	}
	keep, err := compileFilters(in.Filters, spotFields, func(r *spotRequest) map[string]string { return c.tags[r.id] })
	if err != nil {
		return nil, err
	}
	asked, err := lookUp(spotKind, in.IDs, c.spotRequest)
	if err != nil {
		return nil, err
	}
	var found []*spotRequest
	for _, r := range c.spots {
		if keep(r) && (len(in.IDs) == 0 || slices.Contains(asked, r)) {
			found = append(found, r)
		}
	}
	found, next, err := page(found, func(r *spotRequest) int64 { return r.sequence }, in.paging, pageLimit{5, 1000})
	if err != nil {
		return nil, err
	}
	return &spotRequestsOutput{NextToken: next, Requests: newSet(found, c.describeSpot)}, nil
}

type cancelSpotInstanceRequestsInput struct {
	IDs []string `query:"SpotInstanceRequestId,required"`
}

type cancelSpotInstanceRequestsOutput struct {
	reply
	Cancelled set[cancelledSpot] `xml:"spotInstanceRequestSet"`
}

type cancelledSpot struct {
	ID    string `xml:"spotInstanceRequestId"`
	State string `xml:"state"`
}

// cancelSpotInstanceRequests ends requests; an instance that one has got stays.
func (c *call) cancelSpotInstanceRequests(in cancelSpotInstanceRequestsInput) (*cancelSpotInstanceRequestsOutput, error) {
	requests, err := lookUp(spotKind, in.IDs, c.spotRequest)
	if err != nil {
		return nil, err
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	out := &cancelSpotInstanceRequestsOutput{}
	for _, r := range requests {
		switch {
		case r.state == spotOpen:
			r.become(spotCancelled, statusCancelled, c.now)
		case r.state == spotActive && r.inst.state != dormouse.InstanceTerminated:
			r.become(spotCancelled, statusOrphaned, c.now)
		}
		state, _, _ := r.now()
		out.Cancelled.Items = append(out.Cancelled.Items, cancelledSpot{r.id, state})
	}
	return out, nil
}
