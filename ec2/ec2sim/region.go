package ec2sim

import (
	"slices"
)

type describeRegionsInput struct {
	RegionNames []string `query:"RegionName"`
	Filters     []filter `query:"Filter"`
	_           ignored  `query:"AllRegions"`
}

type describeRegionsOutput struct {
	reply
	Regions set[regionAnswer] `xml:"regionInfo"`
}

type regionAnswer struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

var regionFields = fields[regionAnswer]{
	"region-name":   one(func(r regionAnswer) string { return r.Name }),
	"endpoint":      one(func(r regionAnswer) string { return r.Endpoint }),
	"opt-in-status": one(func(r regionAnswer) string { return r.OptIn }),
}

// describeRegions lists the one region that an endpoint is.
func (c *call) describeRegions(in describeRegionsInput) (*describeRegionsOutput, error) {
	keep, err := compileFilters(in.Filters, regionFields, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range in.RegionNames {
		if name != c.opts.Region {
			return nil, refuse("InvalidParameterValue", "Invalid region name: '%s'; this endpoint is %s", name, c.opts.Region)
		}
	}
	out := &describeRegionsOutput{}
	here := regionAnswer{c.opts.Region, "ec2." + c.opts.Region + ".amazonaws.com", "opt-in-not-required"}
	if keep(here) {
		out.Regions.Items = []regionAnswer{here}
	}
	return out, nil
}

type describeAvailabilityZonesInput struct {
	ZoneNames []string `query:"ZoneName"`
	ZoneIDs   []string `query:"ZoneId"`
	Filters   []filter `query:"Filter"`
	_         ignored  `query:"AllAvailabilityZones"`
}

type describeAvailabilityZonesOutput struct {
	reply
	Zones set[zoneAnswer] `xml:"availabilityZoneInfo"`
}

type zoneAnswer struct {
	Name        string      `xml:"zoneName"`
	State       string      `xml:"zoneState"`
	Region      string      `xml:"regionName"`
	Messages    set[string] `xml:"messageSet"`
	OptIn       string      `xml:"optInStatus"`
	ID          string      `xml:"zoneId"`
	GroupName   string      `xml:"groupName"`
	BorderGroup string      `xml:"networkBorderGroup"`
	Type        string      `xml:"zoneType"`
}

var zoneFields = fields[zone]{
	"zone-name": one(func(z zone) string { return z.name }),
	"zone-id":   one(func(z zone) string { return z.id }),
	"state":     func(zone) []string { return []string{"available"} },
	"zone-type": func(zone) []string { return []string{"availability-zone"} },
}

func (c *call) describeAvailabilityZones(in describeAvailabilityZonesInput) (*describeAvailabilityZonesOutput, error) {
	keep, err := compileFilters(in.Filters, zoneFields, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range in.ZoneNames {
		if _, ok := c.zoneNamed(name); !ok {
			return nil, refuse("InvalidParameterValue", "Invalid availability zone: [%s]", name)
		}
	}
	for _, id := range in.ZoneIDs {
		if !slices.ContainsFunc(c.zones, func(z zone) bool { return z.id == id }) {
			return nil, refuse("InvalidParameterValue", "Invalid availability zone-id: [%s]", id)
		}
	}
	out := &describeAvailabilityZonesOutput{}
	for _, z := range c.zones {
		asked := len(in.ZoneNames)+len(in.ZoneIDs) == 0 ||
			slices.Contains(in.ZoneNames, z.name) || slices.Contains(in.ZoneIDs, z.id)
		if asked && keep(z) {
			out.Zones.Items = append(out.Zones.Items, zoneAnswer{
				Name: z.name, State: "available", Region: c.opts.Region, OptIn: "opt-in-not-required", ID: z.id,
				GroupName: c.opts.Region, BorderGroup: c.opts.Region, Type: "availability-zone",
			})
		}
	}
	return out, nil
}
