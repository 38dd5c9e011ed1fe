package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/dormouse-ci/dormouse"
)

// FindingState says how serious a [Finding] is.
type FindingState string

// The states of a finding.
const (
	FindingOK      FindingState = "ok"
	FindingWarning FindingState = "warning" // it works, or may, but a person should know
	FindingWrong   FindingState = "wrong"   // no instance will start until it is changed
)

// Finding is what was found about one thing that a [LaunchSpec] needs.
type Finding struct {
	What  string       `json:"what"` // by the configuration's name where it has one
	State FindingState `json:"state"`
	Text  string       `json:"text"` // one or more lines
}

// maxDryRuns is how many offerings an examination tries: enough for every type
// of a usual list, and well within EC2's bucket for RunInstances.
const maxDryRuns = 8

// Examine asks EC2 whether instances of the spec could be started now, and
// changes nothing. It asks for everything that the spec names, and then for the
// launch itself, without carrying it out.
func (a *Account) Examine(ctx context.Context, spec LaunchSpec) []Finding {
	spec.Region = cmp.Or(spec.Region, a.region)
	x := &examination{a: a, spec: spec, dry: spec}
	if !x.credentials(ctx) {
		return x.findings // every other answer would be the same refusal
	}
	x.region(ctx)
	x.image(ctx)
	x.keypair(ctx)
	x.securityName(ctx)
	vpcs := x.securityGroups(ctx)
	x.subnets(ctx, vpcs)
	x.address(ctx)
	x.volumes(ctx)
	x.launchTemplate(ctx)
	x.types(ctx)
	x.quotas(ctx)
	x.bid(ctx)
	x.launches(ctx)
	x.rights(ctx)
	return x.findings
}

// examination is one Examine: what it has found, and the launch that is left to
// try.
type examination struct {
	a        *Account
	spec     LaunchSpec
	dry      LaunchSpec                        // spec without what the first launch would make
	groupID  string                            // of SecurityName, where it exists
	chosen   Image                             // that a launch would take, as far as it is known
	known    map[string]types.InstanceTypeInfo // of the spec's types, those that EC2 has
	noDryRun bool                              // the endpoint carries out what it should only check
	findings []Finding
}

func (x *examination) add(what string, state FindingState, format string, args ...any) {
	x.findings = append(x.findings, Finding{What: what, State: state, Text: fmt.Sprintf(format, args...)})
}

// failed notes a question that could not be answered. A master does without
// some of them; then it is worth only a warning that it may not be asked.
func (x *examination) failed(what string, err error, masterAsksToo bool) {
	switch remote := remoteOf(err); {
	case !masterAsksToo && (remote == "UnauthorizedOperation" || remote == "InvalidAction"):
		x.add(what, FindingWarning, "cannot be checked, and a master does without it: %v", err)
	default:
		x.add(what, FindingWrong, "%v", err)
	}
}

func (x *examination) wrong(what string) bool {
	return slices.ContainsFunc(x.findings, func(f Finding) bool { return f.What == what && f.State == FindingWrong })
}

func (x *examination) credentials(ctx context.Context) bool {
	const what = "credentials"
	out, err := call(ctx, x.a, action{name: "GetCallerIdentity"}, x.a.api.getCallerIdentity, &sts.GetCallerIdentityInput{})
	switch {
	case remoteOf(err) == "InvalidAction":
		x.add(what, FindingWarning, "whose they are cannot be said: the endpoint has no STS")
	case err != nil:
		if x.noSuchRegion(ctx) {
			return false
		}
		x.add(what, FindingWrong, "%v", err)
		return false
	default:
		x.add(what, FindingOK, "%s (account %s)", deref(out.Arn), deref(out.Account))
	}
	return true
}

// noSuchRegion tells a region that does not exist from credentials that are
// refused: to a question in the one, the answer speaks of the other, or there is
// nobody to ask.
func (x *examination) noSuchRegion(ctx context.Context) bool {
	if x.a.region == DefaultRegion {
		return false
	}
	other, err := x.a.elsewhere(ctx)
	if err != nil {
		return false
	}
	out, err := call(ctx, other, action{name: "DescribeRegions"}, other.api.describeRegions,
		&ec2.DescribeRegionsInput{AllRegions: new(true)})
	if err != nil {
		return false
	}
	var names []string
	for _, r := range out.Regions {
		names = append(names, deref(r.RegionName))
	}
	if slices.Contains(names, x.a.region) {
		return false
	}
	slices.Sort(names)
	x.add("region", FindingWrong, "there is no region %s; those of this account: %s", x.a.region, strings.Join(names, ", "))
	return true
}

func (x *examination) region(ctx context.Context) {
	const what = "region"
	out, err := call(ctx, x.a, action{name: "DescribeRegions"}, x.a.api.describeRegions,
		&ec2.DescribeRegionsInput{AllRegions: new(true)})
	if err != nil {
		x.failed(what, err, false)
		return
	}
	for _, r := range out.Regions {
		if deref(r.RegionName) != x.a.region {
			continue
		}
		if deref(r.OptInStatus) == "not-opted-in" {
			x.add(what, FindingWrong, "%s is not enabled for this account: enable it in the account's settings", x.a.region)
		} else {
			x.add(what, FindingOK, "%s", x.a.region)
		}
		return
	}
	x.add(what, FindingWrong, "%s is no region of this account", x.a.region)
}

func (x *examination) image(ctx context.Context) {
	const what = "image"
	candidates, err := x.a.candidates(ctx, x.spec)
	switch {
	case err != nil:
		x.failed(what, err, true)
	case x.spec.AMISSMParameter != "":
		x.add(what, FindingOK, "EC2 reads parameter %s at each launch", x.spec.AMISSMParameter)
	case x.spec.AMI != "":
		x.chosen = candidates[0]
		x.add(what, FindingOK, "%s", imageName(candidates[0]))
	default:
		x.chosen = candidates[len(candidates)-1]
		x.add(what, FindingOK, "%s", imageChoice(candidates))
	}
}

func imageName(i Image) string { return fmt.Sprintf("%s (%s)", i.ID, i.Location) }

// maxCandidates is how many of the images that match are shown: the last, among
// which the choice falls.
const maxCandidates = 8

// imageChoice says which image is taken, and below it, in their order, which
// others match.
func imageChoice(candidates []Image) string {
	var b strings.Builder
	last := len(candidates) - 1
	fmt.Fprintf(&b, "%s, the last of %d that match", imageName(candidates[last]), len(candidates))
	first := max(len(candidates)-maxCandidates, 0)
	if first > 0 {
		fmt.Fprintf(&b, "\n… %d before", first)
	}
	for i := first; i <= last; i++ {
		fmt.Fprintf(&b, "\n%d. %s", i+1, imageName(candidates[i]))
	}
	return b.String()
}

func (x *examination) keypair(ctx context.Context) {
	const what = "keypair_name"
	name := x.spec.KeypairName
	if name == "" {
		return
	}
	_, err := call(ctx, x.a, action{name: "DescribeKeyPairs"}, x.a.api.describeKeyPairs,
		&ec2.DescribeKeyPairsInput{KeyNames: []string{name}})
	switch {
	case remoteOf(err) == "InvalidKeyPair.NotFound":
		x.dry.KeypairName = ""
		x.add(what, FindingWarning, "%s does not exist; it will be created at the first start, and nobody will have its private key", name)
	case err != nil:
		x.failed(what, err, true)
	default:
		x.add(what, FindingOK, "%s", name)
	}
}

func (x *examination) securityName(ctx context.Context) {
	const what = "security_name"
	name := x.spec.SecurityName
	if name == "" {
		return
	}
	id, err := x.a.findSecurityGroup(ctx, name)
	switch {
	case remoteOf(err) == "InvalidGroup.NotFound":
		x.dry.SecurityName = ""
		x.add(what, FindingWarning, "%s is not in the default VPC; it will be created at the first start, and let nothing in", name)
	case err != nil:
		x.failed(what, err, true)
	default:
		x.groupID = id
		x.add(what, FindingOK, "%s (%s)", name, id)
	}
}

// securityGroups returns the VPCs of the groups that are named by their ids.
func (x *examination) securityGroups(ctx context.Context) (vpcs []string) {
	const what = "security_group_ids"
	ids := x.spec.SecurityGroupIDs
	if len(ids) == 0 {
		return nil
	}
	out, err := call(ctx, x.a, action{name: "DescribeSecurityGroups"}, x.a.api.describeSecurityGroups,
		&ec2.DescribeSecurityGroupsInput{Filters: byID("group-id", ids)})
	if err != nil {
		x.failed(what, err, false)
		return nil
	}
	names := map[string]string{}
	for _, g := range out.SecurityGroups {
		if !slices.Contains(ids, deref(g.GroupId)) {
			continue
		}
		names[deref(g.GroupId)] = fmt.Sprintf("%s (%s, %s)", deref(g.GroupId), deref(g.GroupName), deref(g.VpcId))
		vpcs = append(vpcs, deref(g.VpcId))
	}
	slices.Sort(vpcs)
	vpcs = slices.Compact(vpcs)
	x.listed(what, ids, names)
	if len(vpcs) > 1 {
		x.add(what, FindingWrong, "the groups are in different VPCs (%s), and an instance is in one", strings.Join(vpcs, ", "))
	}
	return vpcs
}

func (x *examination) subnets(ctx context.Context, vpcs []string) {
	const what = "subnet_id"
	ids := x.spec.SubnetIDs
	if len(ids) == 0 {
		return
	}
	out, err := call(ctx, x.a, action{name: "DescribeSubnets"}, x.a.api.describeSubnets,
		&ec2.DescribeSubnetsInput{Filters: byID("subnet-id", ids)})
	if err != nil {
		x.failed(what, err, len(x.spec.Volumes) > 0)
		return
	}
	out.Subnets = slices.DeleteFunc(out.Subnets, func(s types.Subnet) bool { return !slices.Contains(ids, deref(s.SubnetId)) })
	names := map[string]string{}
	for _, s := range out.Subnets {
		names[deref(s.SubnetId)] = fmt.Sprintf("%s (%s, %s, %d addresses free)",
			deref(s.SubnetId), deref(s.AvailabilityZone), deref(s.VpcId), deref(s.AvailableIpAddressCount))
	}
	x.listed(what, ids, names)
	placed := zoneName(x.spec.Region, x.spec.Placement)
	for _, s := range out.Subnets {
		id, zone, vpc := deref(s.SubnetId), deref(s.AvailabilityZone), deref(s.VpcId)
		if placed != "" && zone != placed {
			x.add(what, FindingWrong, "%s is in %s, and placement says %s: leave placement out", id, zone, placed)
		}
		if len(vpcs) > 0 && !slices.Contains(vpcs, vpc) {
			x.add(what, FindingWrong, "%s is in %s, and the security groups are in %s", id, vpc, strings.Join(vpcs, ", "))
		}
		if deref(s.AvailableIpAddressCount) == 0 {
			x.add(what, FindingWarning, "%s has no address left for an instance", id)
		}
	}
}

func byID(filter string, ids []string) []types.Filter {
	return []types.Filter{{Name: &filter, Values: ids}}
}

// listed notes which of the ids were found, by their descriptions, and which
// were not.
func (x *examination) listed(what string, ids []string, found map[string]string) {
	var there, missing []string
	for _, id := range ids {
		if name, ok := found[id]; ok {
			there = append(there, name)
		} else {
			missing = append(missing, id)
		}
	}
	if len(there) > 0 {
		x.add(what, FindingOK, "%s", strings.Join(there, ", "))
	}
	if len(missing) > 0 {
		x.add(what, FindingWrong, "%s: not in %s for this account", strings.Join(missing, ", "), x.a.region)
	}
}

func (x *examination) address(ctx context.Context) {
	const what = "elastic_ip"
	if x.spec.ElasticIP == "" {
		return
	}
	ad, err := x.a.address(ctx, x.spec.ElasticIP)
	switch {
	case err != nil:
		x.failed(what, err, true)
	case ad.holder() != "":
		x.add(what, FindingWarning, "%s is taken by %s: a start waits until it is free", ad.ip, ad.holder())
	default:
		x.add(what, FindingOK, "%s (%s) is free", ad.ip, ad.allocation)
	}
}

func (x *examination) volumes(ctx context.Context) {
	const what = "volumes"
	if len(x.spec.Volumes) == 0 {
		return
	}
	look, err := x.a.volumes(ctx, x.spec, time.Now())
	if err != nil {
		x.failed(what, err, true)
		return
	}
	for _, v := range x.spec.Volumes {
		found := look.found[v.ID]
		switch why, err := freeVolume(found, v.Device); {
		case err != nil:
			x.failed(what, err, true)
		case why != "":
			x.add(what, FindingWarning, "%s: a start waits until it is free", why)
		default:
			x.add(what, FindingOK, "%s is free, for %s in %s", v.ID, v.Device, found.zone)
		}
	}
	if _, err := x.a.ResolveOfferings(ctx, x.spec); err != nil {
		x.failed(what, err, true)
	}
}

func (x *examination) bid(ctx context.Context) {
	const what = "bid"
	if !x.spec.SpotInstance {
		return
	}
	zone := zoneName(x.spec.Region, x.spec.Placement)
	for _, instanceType := range x.spec.InstanceTypes[:min(len(x.spec.InstanceTypes), maxDryRuns)] {
		bid, err := x.a.bid(ctx, x.spec, instanceType, zone)
		price := "" // where it is above the bid
		if err == nil && bid != "" {
			price = x.costsMore(ctx, instanceType, zone, bid)
		}
		switch {
		case reachesBid(err) && x.spec.FallbackToOnDemand:
			x.add(what, FindingWarning, "%s: %v; it is bought on demand", instanceType, err)
		case reachesBid(err):
			x.add(what, FindingWrong, "%s: %v", instanceType, err)
		case err != nil:
			x.failed(what, err, true)
			return // it would be the same for the others
		case bid == "":
			x.add(what, FindingOK, "%s: up to what it costs on demand", instanceType)
		case price != "":
			x.add(what, FindingWarning, "%s: at most $%s an hour, and it costs $%s now: none is started on the spot market until that has fallen",
				instanceType, bid, price)
		default:
			x.add(what, FindingOK, "%s: at most $%s an hour", instanceType, bid)
		}
	}
}

// costsMore is the spot price where it is above a bid, in every zone that there is,
// else "". That it cannot be asked for is said of the bid itself.
func (x *examination) costsMore(ctx context.Context, instanceType, zone, bid string) string {
	now := time.Now()
	points, err := x.a.spotHistory(ctx, instanceType, cmp.Or(x.spec.ProductDescription, defaultProduct), zone, now, now)
	offered, ok := readPrice(bid)
	lowest := lowestPrice(points, now)
	if err != nil || !ok || lowest == nil || lowest.Cmp(offered) <= 0 {
		return ""
	}
	return strings.TrimRight(lowest.FloatString(bidDigits), "0")
}

// reachesBid reports whether err says that EC2 would not take a bid.
func reachesBid(err error) bool {
	e, ok := asError(err)
	return ok && e.Reach == dormouse.ReachBid && e.Remote == ""
}

// launches asks for the launch of each offering without carrying it out.
func (x *examination) launches(ctx context.Context) {
	const what = "launch"
	offerings, err := x.a.ResolveOfferings(ctx, x.spec)
	if err != nil || x.wrong("image") {
		x.add(what, FindingWarning, "not tried: see above")
		return
	}
	var outcomes []outcome
	for _, o := range offerings[:min(len(offerings), maxDryRuns)] {
		err := x.a.dryRun(ctx, x.dry, o, x.groupID)
		if reachesBid(err) {
			continue // said of the bid
		}
		x.noDryRun = x.noDryRun || errors.Is(err, errNoDryRun)
		outcomes = append(outcomes, outcomeOf(o, err))
	}
	x.findings = append(x.findings, launchFindings(outcomes)...)
	if more := len(offerings) - maxDryRuns; more > 0 {
		x.add(what, FindingWarning, "%d more offerings were not tried", more)
	}
	if profile := x.spec.InstanceProfileName; profile != "" {
		x.findings = append(x.findings, profileFinding(profile, outcomes))
	}
}

// outcome is what came of a launch that was tried.
type outcome struct {
	offering dormouse.Offering
	state    FindingState
	text     string
}

func outcomeOf(o dormouse.Offering, err error) outcome {
	switch dormouse.CodeOf(err) {
	case "":
		return outcome{o, FindingOK, "EC2 allows it; capacity and quota were not asked"}
	case dormouse.Capacity, dormouse.Quota:
		return outcome{o, FindingWarning, "not now: " + err.Error()}
	default:
		return outcome{o, FindingWrong, err.Error()}
	}
}

// launchFindings says once what came of several offerings.
func launchFindings(outcomes []outcome) []Finding {
	var findings []Finding
	for len(outcomes) > 0 {
		first := outcomes[0]
		var same []string
		var rest []outcome
		for _, o := range outcomes {
			if o.state == first.state && o.text == first.text {
				same = append(same, o.offering.String())
			} else {
				rest = append(rest, o)
			}
		}
		findings = append(findings, Finding{"launch", first.state, strings.Join(same, ", ") + ": " + first.text})
		outcomes = rest
	}
	return findings
}

// profileFinding is what the tried launches tell of the instance profile: there
// is no call of EC2's that would.
func profileFinding(profile string, outcomes []outcome) Finding {
	f := Finding{"instance_profile_name", FindingWarning, profile + ": nothing is known of it until a launch is allowed"}
	for _, o := range outcomes {
		text := strings.ToLower(o.text)
		switch {
		case o.state == FindingOK:
			return Finding{f.What, FindingOK, profile + ": EC2 did not object"}
		case strings.Contains(text, "instanceprofile"), strings.Contains(text, "instance profile"), strings.Contains(text, "passrole"):
			f.State, f.Text = FindingWrong, profile+": "+o.text
		}
	}
	return f
}

// dryRun has EC2 check a launch that it is told not to carry out.
func (a *Account) dryRun(ctx context.Context, spec LaunchSpec, o dormouse.Offering, groupID string) error {
	r, err := a.compose(ctx, spec, o, 1, nil, nil)
	if err != nil {
		return err
	}
	r.setGroups(spec, groupID)
	return a.try(ctx, r)
}

// Try asks EC2 whether it would carry out what [Account.Render] wrote: nil, or what
// it would refuse that with. It starts nothing.
func (a *Account) Try(ctx context.Context, launch []byte) error {
	r, err := decodeRendered(launch)
	if err != nil {
		return err
	}
	return a.try(ctx, r)
}

func (a *Account) try(ctx context.Context, r *rendered) error {
	in := r.input("")
	in.ClientToken, in.DryRun = nil, new(true)
	out, err := call(ctx, a, action{name: "RunInstances", instances: 1}, a.api.runInstances, in)
	switch {
	case remoteOf(err) == "DryRunOperation":
		return nil
	case err != nil:
		return err
	}
	// An endpoint that knows no DryRun has started what it should not have.
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, deref(i.InstanceId))
	}
	text := fmt.Sprintf("the endpoint does not know DryRun: it started %s, which is being ended", strings.Join(ids, ", "))
	if _, err := a.Terminate(ctx, ids); err != nil {
		text = fmt.Sprintf("the endpoint does not know DryRun: it started %s; end it by hand (%v)", strings.Join(ids, ", "), err)
	}
	return dormouse.Errorf(dormouse.Configuration, "%w%s", errNoDryRun, text)
}

// errNoDryRun marks what an endpoint says that carries out what it should check; it
// adds nothing to the text.
var errNoDryRun = errors.New("")
