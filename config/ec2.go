package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
)

var ec2Class = register(&class{
	name: "worker.EC2LatentWorker", from: "buildbot.worker.ec2", list: "workers",
	positional: 26, // Buildbot's own parameters, in its order
	params: slices.Concat([]param{
		{name: "name", support: required},
		{name: "password", support: required, secret: true},
		{name: "instance_type", support: required},
		{name: "ami"},
		{name: "valid_ami_owners"},
		{name: "valid_ami_location_regex"},
		{name: "elastic_ip"},
		{name: "identifier", secret: true},
		{name: "secret_identifier", secret: true},
		{name: "aws_id_file_path"},
		{name: "user_data", secret: true},
		{name: "region"},
		{name: "keypair_name"},
		{name: "security_name"},
		{name: "spot_instance"},
		{name: "max_spot_price"},
		{name: "volumes"},
		{name: "placement"},
		{name: "price_multiplier"},
		{name: "tags"},
		{name: "product_description"},
		{name: "subnet_id"},
		{name: "security_group_ids"},
		{name: "instance_profile_name"},
		{name: "block_device_map"},
		{name: "session"},
	}, workerParams, []param{
		{name: "build_wait_timeout"},
		{name: "on_shutdown"},
		{name: "check_instance_interval"},
		{name: "instances"},
		{name: "fallback_to_on_demand"},
		{name: "price_per_hour"},
		{name: "launch_template"},
		{name: "ami_ssm_parameter"},
		{name: "ami_filters"},
		{name: "bootstrap"},
		{name: "associate_public_ip_address"},
	}),
	read: readEC2Worker,
})

// Defaults of Buildbot's EC2LatentWorker.
const (
	defaultBuildWait       = 10 * time.Minute
	defaultCheckInterval   = 10 * time.Second
	defaultMaxSpotPrice    = 1.6 // US dollars an hour
	defaultPriceMultiplier = 1.2
	maxPriceMultiplier     = 100 // a spot price is never above the on-demand one, some ten times the lowest
	defaultProduct         = "Linux/UNIX"
)

// EC2's own limits, from its API reference.
const (
	minSpotPrice = 0.001 // US dollars an hour; lower bids are refused
	maxTags      = 45    // EC2 takes 50; the others say whose the instance is
	maxTagKey    = 128   // characters
	maxTagValue  = 256
	maxName      = 255 // characters of a key pair's or a security group's name
)

var (
	instanceTypeForm = regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`)
	// A zone by its letter, or by its whole name as local zones have to be.
	placementForm = regexp.MustCompile(`^([a-z]{2,}(-[a-z]+)+-[0-9]+(-[a-z]+-[0-9]+)?)?[a-z]$`)
	keypairForm   = regexp.MustCompile(`^[!-~]([ -~]*[!-~])?$`)
	groupForm     = regexp.MustCompile(`^[a-zA-Z0-9 ._:/()#,@\[\]+=&;{}!$*-]+$`)
	// What a tag's key is where it is shown in the metadata, and so a path there:
	// Amazon EC2 User Guide, "View tags for your EC2 instances using instance metadata".
	metadataKeyForm = regexp.MustCompile(`^[a-zA-Z0-9+=.,_:@-]+$`)
	profileForm     = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
)

// products are what EC2's spot prices are listed for.
var products = []string{
	"Linux/UNIX", "Linux/UNIX (Amazon VPC)", "Red Hat Enterprise Linux", "Red Hat Enterprise Linux (Amazon VPC)",
	"SUSE Linux", "SUSE Linux (Amazon VPC)", "Windows", "Windows (Amazon VPC)",
}

func readEC2Worker(a arguments) any {
	w := readWorker(a, a.seconds("missing_timeout", defaultLatentMissing, positive))
	e := &EC2LatentWorker{
		InstanceTypes:         readInstanceTypes(a),
		AMI:                   readID(a, "ami", "ami-"),
		AMISSMParameter:       readSSMParameter(a),
		ValidAMIOwners:        readOwners(a),
		ValidAMILocationRegex: readLocationRegex(a),
		AMIFilters:            readAMIFilters(a),
		LaunchTemplate:        readLaunchTemplate(a),
		ElasticIP:             readElasticIP(a),
		KeypairName:           readKeypairName(a),
		SecurityName:          readSecurityName(a),
		SecurityGroupIDs:      readIDs(a, "security_group_ids", "sg-"),
		SubnetIDs:             readIDs(a, "subnet_id", "subnet-"),
		UserData:              readUserData(a),
		Bootstrap:             readBootstrap(a),
		BuildWaitTimeout:      a.seconds("build_wait_timeout", defaultBuildWait, anySign),
		OnShutdown:            readOnShutdown(a),
		MissingTimeout:        w.MissingTimeout,
		CheckInstanceInterval: readCheckInterval(a),
		Session:               readSession(a),
		SpotInstance:          a.flag("spot_instance", false),
		MaxSpotPrice:          readPrice(a, "max_spot_price", defaultMaxSpotPrice),
		PriceMultiplier:       readPrice(a, "price_multiplier", defaultPriceMultiplier),
		ProductDescription:    readProduct(a),
		FallbackToOnDemand:    a.flag("fallback_to_on_demand", false),
		Instances:             readInstances(a),
		PricePerHour:          readPrice(a, "price_per_hour", 0),
		Volumes:               readVolumes(a),
		BlockDeviceMap:        readBlockDevices(a),
		Tags:                  readTags(a),
		InstanceProfileName:   readProfileName(a),
		Pos:                   make(map[string]string, len(a.o.args)),

		AssociatePublicIPAddress: readPublicAddress(a),
	}
	e.Region = readRegion(a, e.Session)
	e.Placement = readPlacement(a, e.Region)
	for name, arg := range a.o.args {
		e.Pos[name] = a.r.pos(arg.at)
	}
	checkImage(a, e)
	checkNetwork(a, e)
	checkDevices(a, e)
	checkSpot(a, e)
	w.EC2 = e
	return w
}

func readOnShutdown(a arguments) string {
	const terminate, keep = "terminate", "keep"
	f, ok := a.some("on_shutdown")
	if !ok {
		return terminate
	}
	if f.v != starlark.String(terminate) && f.v != starlark.String(keep) {
		f.bad("'terminate' or 'keep'")
	}
	v, _ := starlark.AsString(f.v)
	return v
}

func readKeypairName(a arguments) string {
	name := a.text("keypair_name", "")
	if name != "" && (len(name) > maxName || !keypairForm.MatchString(name)) {
		f, _ := a.field("keypair_name")
		f.bad("a name of at most 255 ASCII characters")
	}
	return name
}

func readSecurityName(a arguments) string {
	name := a.text("security_name", "")
	switch {
	case name == "":
	case strings.HasPrefix(name, "sg-"):
		a.errorf("security_name", "name groups by their ids in security_group_ids", "security_name must be a group's name, not the id %s", quote(name))
	case len(name) > maxName || !groupForm.MatchString(name):
		f, _ := a.field("security_name")
		f.bad("a name of at most 255 letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*")
	}
	return name
}

func readProfileName(a arguments) string {
	name := a.text("instance_profile_name", "")
	switch {
	case name == "":
	case strings.HasPrefix(name, "arn:"):
		a.errorf("instance_profile_name", "it is what follows the last slash of the ARN", "instance_profile_name must be the profile's name, not its ARN")
	case !profileForm.MatchString(name):
		f, _ := a.field("instance_profile_name")
		f.bad("a name of at most 128 letters, digits and _+=,.@-")
	}
	return name
}

// minCheckInterval keeps a worker that waits from taking the account's whole rate
// of listings.
const minCheckInterval = time.Second

func readCheckInterval(a arguments) time.Duration {
	d := a.seconds("check_instance_interval", defaultCheckInterval, positive)
	if d < minCheckInterval {
		f, _ := a.field("check_instance_interval")
		f.bad("at least 1 second")
	}
	return d
}

func readProduct(a arguments) string {
	if f, ok := a.some("product_description"); ok {
		return f.oneOf(products...)
	}
	return defaultProduct
}

// maxInstances of one definition is as many as one RunInstances call is known
// to start.
const maxInstances = 1000

func readInstances(a arguments) int {
	if f, ok := a.some("instances"); ok {
		if n, ok := f.integer(1, maxInstances); ok {
			return n
		}
	}
	return 1
}

func checkNetwork(a arguments, e *EC2LatentWorker) {
	if a.given("security_name") && a.given("subnet_id") {
		a.errorf("security_name", "name the groups by security_group_ids", "security_name cannot be used in a subnet (subnet_id)")
	}
	if e.Instances > 1 {
		if a.given("elastic_ip") {
			a.errorf("elastic_ip", "define one worker for each address", "elastic_ip is one address, for %d instances", e.Instances)
		}
		if a.given("volumes") {
			a.errorf("volumes", "define one worker for each set of volumes", "volumes can be attached to one instance, not to %d", e.Instances)
		}
	}
}

func checkSpot(a arguments, e *EC2LatentWorker) {
	if e.Bootstrap != "" && strings.HasPrefix(e.ProductDescription, "Windows") {
		a.errorf("bootstrap", "put the worker on the image", "bootstrap installs the agent by cloud-init on Linux, and product_description is %s", quote(e.ProductDescription))
	}
	if e.SpotInstance && !e.FallbackToOnDemand && a.given("price_per_hour") &&
		dormouse.PricedInDollars(cmp.Or(e.Region, e.Session.Region)) {
		a.r.warnf(a.at("price_per_hour"), "", "%s: price_per_hour has no effect on spot instances, whose price EC2 tells", a.o.class.name)
	}
	if e.SpotInstance {
		if none(a, "max_spot_price") && none(a, "price_multiplier") {
			a.errorf("max_spot_price", "give one of them, or both", "max_spot_price and price_multiplier cannot both be None")
		}
		return
	}
	if e.FallbackToOnDemand {
		a.r.warnf(a.at("fallback_to_on_demand"), "", "%s: fallback_to_on_demand has no effect without spot_instance=True", a.o.class.name)
	}
	for _, name := range []string{"max_spot_price", "price_multiplier"} {
		if a.given(name) {
			a.r.warnf(a.at(name), "", "%s: %s has no effect without spot_instance=True", a.o.class.name, name)
		}
	}
}

func none(a arguments, name string) bool {
	f, ok := a.field(name)
	return ok && f.v == starlark.None
}

func readInstanceTypes(a arguments) []string {
	f, ok := a.field("instance_type")
	if !ok {
		return nil
	}
	types := f.texts()
	for i, t := range types {
		if !instanceTypeForm.MatchString(t) {
			a.r.errorf(f.at.Item(i, len(types)), "a type is a family and a size, such as m7i.large", "%s: %s is no instance type", f.label, quote(t))
		}
	}
	if items, isList := f.v.(starlark.Sequence); isList && items.Len() == 0 {
		f.bad("at least one instance type")
	}
	return types
}

// readID reads an id of EC2's, which all begin with what they identify.
func readID(a arguments, name, prefix string) string {
	id := a.text(name, "")
	if id != "" && !validID(id, prefix) {
		f, _ := a.field(name)
		f.bad("an id that begins with " + prefix)
	}
	return id
}

func validID(id, prefix string) bool {
	rest, ok := strings.CutPrefix(id, prefix)
	return ok && rest != "" && !strings.ContainsFunc(rest, func(r rune) bool {
		return r >= utf8.RuneSelf || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	})
}

func readIDs(a arguments, name, prefix string) []string {
	f, ok := a.some(name)
	if !ok {
		return nil
	}
	ids := f.texts()
	if items, isList := f.v.(starlark.Sequence); isList && items.Len() == 0 {
		f.bad("at least one id")
	}
	for i, id := range ids {
		if !validID(id, prefix) {
			a.r.errorf(f.at.Item(i, len(ids)), "", "%s must be ids that begin with %s, not %s", f.label, prefix, quote(id))
		}
	}
	return ids
}

func readElasticIP(a arguments) string {
	ip := a.text("elastic_ip", "")
	if addr, err := netip.ParseAddr(ip); ip != "" && (err != nil || !addr.Is4() || addr.IsPrivate() || !addr.IsGlobalUnicast()) {
		f, _ := a.field("elastic_ip")
		f.bad("a public IPv4 address of your account")
	}
	return ip
}

func readPublicAddress(a arguments) *bool {
	f, ok := a.some("associate_public_ip_address")
	if !ok {
		return nil
	}
	public, ok := f.flag()
	if !ok {
		return nil
	}
	return &public
}

func readRegion(a arguments, s Session) string {
	region := a.text("region", "")
	if region == "" {
		return s.Region
	}
	if !dormouse.IsRegion(region) {
		f, _ := a.field("region")
		f.bad("a region's name, such as 'eu-central-1'")
	}
	return region
}

func readPlacement(a arguments, region string) string {
	placement := a.text("placement", "")
	if placement != "" && !placementForm.MatchString(placement) {
		f, _ := a.field("placement")
		f.bad("a zone's letter, such as 'b' for the region's zone b")
	} else if len(placement) > 1 && region != "" && !strings.HasPrefix(placement, region) {
		a.errorf("placement", "", "the zone %s is not in the region %s", quote(placement), quote(region))
	}
	return placement
}

func readPrice(a arguments, name string, def float64) *float64 {
	f, ok := a.field(name)
	switch {
	case !ok && def == 0:
		return nil
	case !ok:
		return &def
	case f.v == starlark.None:
		return nil
	case name == "price_multiplier":
		n := f.money("a positive number or None")
		if n != nil && *n > maxPriceMultiplier {
			f.bad(fmt.Sprintf("at most %d", maxPriceMultiplier))
		}
		return n
	}
	price := f.money("a positive price in US dollars an hour, or None")
	if name == "max_spot_price" && price != nil && *price <= minSpotPrice {
		f.bad("more than $0.001 an hour, which is EC2's lowest bid")
	}
	return price
}

func readTags(a arguments) map[string]string {
	tags := a.textMap("tags")
	f, _ := a.field("tags")
	if len(tags) > maxTags {
		a.errorf("tags", "", "tags has %d tags, and there can be %d", len(tags), maxTags)
	}
	for _, k := range sortedKeys(tags) {
		key, value := f.at.Entry(k)
		switch {
		case k == "":
			a.r.errorf(key, "", "%s: a key is empty", f.label)
		case strings.HasPrefix(strings.ToLower(k), "aws:"), strings.HasPrefix(k, "dormouse:"):
			a.r.errorf(key, "", "%s: %s: keys that begin with aws: or dormouse: are reserved", f.label, quote(k))
		case utf8.RuneCountInString(k) > maxTagKey:
			a.r.errorf(key, "", "%s: the key %s is longer than %d characters", f.label, quote(k), maxTagKey)
		case utf8.RuneCountInString(tags[k]) > maxTagValue:
			a.r.errorf(value, "", "%s: the value of %s is longer than %d characters", f.label, quote(k), maxTagValue)
		case !metadataKeyForm.MatchString(k), k == ".", k == "..", k == "_index":
			a.r.warnf(key, "use letters, digits and +-=.,_:@",
				"%s: EC2 refuses the launch for the key %s where the account or the launch template shows tags in the instance metadata", f.label, quote(k))
		}
	}
	return tags
}
