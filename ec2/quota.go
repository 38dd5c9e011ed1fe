package ec2

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/servicequotas"

	"github.com/dormouse-ci/dormouse"
)

// quotas asks Service Quotas how many vCPUs the account may have of what the spec's
// workers are bought as: a dry run is allowed also where there is no room for one
// instance. How much of it is in use is not asked.
func (x *examination) quotas(ctx context.Context) {
	const what = "quota"
	markets := []dormouse.Market{dormouse.OnDemand}
	if x.spec.SpotInstance {
		markets[0] = dormouse.Spot
		if x.spec.FallbackToOnDemand {
			markets = append(markets, dormouse.OnDemand)
		}
	}
	values := map[string]float64{}
	var found []Finding
	roomy := false
	for _, market := range markets {
		for _, name := range x.spec.InstanceTypes {
			group := dormouse.QuotaGroup(name)
			code, cpus := dormouse.QuotaCode(market, group), x.vcpus(name)
			if code == "" || cpus == 0 {
				roomy = true // for all that is known
				continue
			}
			value, asked := values[code]
			if !asked {
				var err error
				if value, err = x.a.quota(ctx, code); err != nil {
					x.add(what, FindingWarning, "was not asked, and a master does without it: %v", err)
					return
				}
				values[code] = value
			}
			found = append(found, roomFinding(market, group, code, name, cpus, value))
			roomy = roomy || value >= float64(cpus)
		}
	}
	for _, f := range found {
		if f.State == FindingWrong && roomy {
			f.State = FindingWarning // another type or market has room
		}
		if !slices.Contains(x.findings, f) {
			x.findings = append(x.findings, f)
		}
	}
}

// roomFinding is what a quota of vCPUs is for a type.
func roomFinding(market dormouse.Market, group, code, name string, cpus int32, value float64) Finding {
	f := Finding{What: "quota", State: FindingOK}
	room := int(value) / int(cpus)
	f.Text = fmt.Sprintf("%s %s: %.0f vCPUs (%s), which is room for %d of %s; what else runs in the account counts", group, market, value, code, room, name)
	if room == 0 {
		f.State = FindingWrong
		f.Text = fmt.Sprintf("%s %s: %.0f vCPUs (%s), and %s has %d: ask for a higher limit in the Service Quotas console, or name another type", group, market, value, code, name, cpus)
	}
	return f
}

// vcpus is how many a type counts against its quota, 0 where EC2 did not say.
func (x *examination) vcpus(name string) int32 {
	if v := x.known[name].VCpuInfo; v != nil {
		return deref(v.DefaultVCpus)
	}
	return 0
}

// quota asks Service Quotas for one of EC2's quotas.
func (a *Account) quota(ctx context.Context, code string) (float64, error) {
	out, err := call(ctx, a, action{name: "GetServiceQuota"}, a.api.getServiceQuota,
		&servicequotas.GetServiceQuotaInput{ServiceCode: new("ec2"), QuotaCode: &code})
	switch {
	case err != nil:
		return 0, err
	case out.Quota == nil || out.Quota.Value == nil:
		return 0, dormouse.Errorf(dormouse.Unavailable, "Service Quotas answers of %s without a value", code)
	default:
		return *out.Quota.Value, nil
	}
}
