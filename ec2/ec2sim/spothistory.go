package ec2sim

import (
	"slices"
	"time"
)

type describeSpotPriceHistoryInput struct {
	paging
	Start    string   `query:"StartTime"`
	End      string   `query:"EndTime"`
	Types    []string `query:"InstanceType"`
	Products []string `query:"ProductDescription"`
	Zone     string   `query:"AvailabilityZone"`
	ZoneID   string   `query:"AvailabilityZoneId"`
	Filters  []filter `query:"Filter"`
}

type describeSpotPriceHistoryOutput struct {
	reply
	Prices    set[spotPriceAnswer] `xml:"spotPriceHistorySet"`
	NextToken string               `xml:"nextToken"` // empty on the last page
}

type spotPriceAnswer struct {
	InstanceType string `xml:"instanceType"`
	Product      string `xml:"productDescription"`
	Price        string `xml:"spotPrice"`
	Timestamp    string `xml:"timestamp"`
	Zone         string `xml:"availabilityZone"`
	ZoneID       string `xml:"availabilityZoneId"`
	at           time.Time
	place        int64 // in the whole answer
}

const (
	// spotHistory is how far back prices are known, EC2's 90 days.
	spotHistory = 90 * 24 * time.Hour
	// spotHistoryPage is how many there are at once where nothing is said.
	spotHistoryPage = 1000
	// vpcProduct is how a client that remembers EC2-Classic asks for
	// linuxProduct.
	vpcProduct = linuxProduct + " (Amazon VPC)"
)

var spotPriceFields = fields[spotPriceAnswer]{
	"availability-zone":    one(func(p spotPriceAnswer) string { return p.Zone }),
	"availability-zone-id": one(func(p spotPriceAnswer) string { return p.ZoneID }),
	"instance-type":        one(func(p spotPriceAnswer) string { return p.InstanceType }),
	"product-description":  func(spotPriceAnswer) []string { return []string{linuxProduct, vpcProduct} },
	"spot-price":           one(func(p spotPriceAnswer) string { return p.Price }),
	"timestamp":            one(func(p spotPriceAnswer) string { return p.Timestamp }),
}

// describeSpotPriceHistory lists the changes of the prices in a time, and what
// they were when it began, the newest first.
func (c *call) describeSpotPriceHistory(in describeSpotPriceHistoryInput) (*describeSpotPriceHistoryOutput, error) {
	keep, err := compileFilters(in.Filters, spotPriceFields, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range in.Types {
		if _, ok := typeNamed(name); !ok {
			return nil, refuse("InvalidParameterValue", "Invalid value '%s' for InstanceType.", name)
		}
	}
	if _, ok := c.zoneNamed(in.Zone); in.Zone != "" && !ok {
		return nil, refuse("InvalidParameterValue", "Invalid availability zone: [%s]", in.Zone)
	}
	start, err := parseTime("StartTime", in.Start)
	if err != nil {
		return nil, err
	}
	end, err := parseTime("EndTime", in.End)
	if err != nil {
		return nil, err
	}
	if end.IsZero() || end.After(c.now) {
		end = c.now
	}
	if earliest := c.now.Add(-spotHistory); start.Before(earliest) {
		start = earliest
	}
	if start.After(end) {
		start = end // the price in force, as EC2 answers
	}
	var found []spotPriceAnswer
	if len(in.Products) == 0 || slices.Contains(in.Products, linuxProduct) || slices.Contains(in.Products, vpcProduct) {
		for _, t := range instanceTypes {
			if len(in.Types) > 0 && !slices.Contains(in.Types, t.name) {
				continue
			}
			for _, z := range c.zones {
				if (in.Zone == "" || in.Zone == z.name) && (in.ZoneID == "" || in.ZoneID == z.id) {
					found = append(found, c.spotChanges(t.name, z, start, end)...)
				}
			}
		}
	}
	found = slices.DeleteFunc(found, func(p spotPriceAnswer) bool { return !keep(p) })
	slices.SortStableFunc(found, func(a, b spotPriceAnswer) int { return b.at.Compare(a.at) })
	if in.MaxResults == nil {
		in.MaxResults = new(spotHistoryPage)
	}
	for i := range found {
		found[i].place = int64(i) + 1
	}
	found, next, err := page(found, func(p spotPriceAnswer) int64 { return p.place }, in.paging, pageLimit{1, spotHistoryPage})
	if err != nil {
		return nil, err
	}
	return &describeSpotPriceHistoryOutput{NextToken: next, Prices: set[spotPriceAnswer]{found}}, nil
}

// spotChanges are the prices of an offering from a time to another. EC2 tells a
// price at least once a day also when it stays; here that is at midnight. The
// steps of a scenario's curve come in between.
func (c *call) spotChanges(instanceType string, z zone, start, end time.Time) []spotPriceAnswer {
	var times []time.Time
	for at := start.UTC().Truncate(24 * time.Hour); !at.After(end); at = at.Add(24 * time.Hour) {
		times = append(times, at)
	}
	if r := c.playing.curveOf(instanceType, z.name); r != nil {
		for _, step := range r.do.curve {
			if at := c.playing.began.Add(step.at); !at.After(end) {
				times = append(times, at)
			}
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	times = slices.CompactFunc(times, time.Time.Equal)
	// The first is the last that is not after the start.
	first, exact := slices.BinarySearchFunc(times, start, time.Time.Compare)
	if !exact {
		first--
	}
	var changes []spotPriceAnswer
	for _, at := range times[max(first, 0):] {
		changes = append(changes, spotPriceAnswer{
			InstanceType: instanceType, Product: linuxProduct, Zone: z.name, ZoneID: z.id, at: at,
			Timestamp: stamp(at), Price: writePrice(c.spotPrice(instanceType, z.name, at)),
		})
	}
	return changes
}
