package ec2sim

import (
	"encoding/json"

	"github.com/dormouse-ci/dormouse"
)

// serviceQuotas is Service Quotas, as signatures name it.
const serviceQuotas = "servicequotas"

// quotaActions is what Service Quotas can be asked.
var quotaActions = map[string]func(*call, []byte) (any, error){
	"GetServiceQuota": (*call).getServiceQuota,
}

// unlimited is what the quotas are that nobody has set: more than MaxInstances of
// the largest type.
const unlimited = 1 << 20

type getServiceQuotaInput struct {
	ServiceCode string
	QuotaCode   string
}

type getServiceQuotaOutput struct {
	Quota serviceQuota
}

type serviceQuota struct {
	ServiceCode string
	ServiceName string
	QuotaArn    string
	QuotaCode   string
	QuotaName   string
	Value       float64
	Unit        string
	Adjustable  bool
	GlobalQuota bool
}

// getServiceQuota tells how many vCPUs of a group of types may run in a market.
func (c *call) getServiceQuota(body []byte) (any, error) {
	var in getServiceQuotaInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, refuse("SerializationException", "The request's body is not what GetServiceQuota takes")
	}
	for _, t := range instanceTypes {
		for _, market := range []dormouse.Market{dormouse.OnDemand, dormouse.Spot} {
			group := dormouse.QuotaGroup(t.name)
			if code := dormouse.QuotaCode(market, group); in.ServiceCode != "ec2" || code == "" || code != in.QuotaCode {
				continue
			}
			name := "Running On-Demand " + group + " instances"
			if market == dormouse.Spot {
				name = "All " + group + " Spot Instance Requests"
			}
			return getServiceQuotaOutput{serviceQuota{
				ServiceCode: "ec2", ServiceName: "Amazon Elastic Compute Cloud (Amazon EC2)",
				QuotaArn:  "arn:aws:servicequotas:" + c.opts.Region + ":" + c.opts.AccountID + ":ec2/" + in.QuotaCode,
				QuotaCode: in.QuotaCode, QuotaName: name, Value: float64(c.vcpuQuota(in.QuotaCode)), Unit: "None", Adjustable: true,
			}}, nil
		}
	}
	return nil, refuse("NoSuchResourceException", "The request failed because the specified service quota does not exist.")
}

func (s *Server) vcpuQuota(code string) int {
	if value, set := s.opts.VCPUQuotas[code]; set {
		return value
	}
	return unlimited
}

// admitVCPUs refuses a launch that the account's quota has no room for, whole: "You
// have requested more vCPU capacity than your current limit".
func (c *call) admitVCPUs(kind instanceType, market dormouse.Market, count int) error {
	group := dormouse.QuotaGroup(kind.name)
	code := dormouse.QuotaCode(market, group)
	if code == "" {
		return nil
	}
	most, used := c.vcpuQuota(code), 0
	for _, inst := range c.byID {
		if inst.state.Ended() || inst.market != market || dormouse.QuotaGroup(inst.kind.name) != group {
			continue
		}
		used += inst.kind.vcpus
	}
	switch {
	case used+count*kind.vcpus <= most:
		return nil
	case market == dormouse.Spot:
		return refuse("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
	default:
		return refuse("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance bucket "+
			"that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.", most)
	}
}
