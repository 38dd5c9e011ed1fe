package config

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse/ec2"
)

// documented are the rows of the option tables in docs/ec2.md, which end where
// the list of what is not to be combined begins: the default by option. Each
// row is an option, its rule, its default and its difference.
func documented(t *testing.T) (defaults map[string]string, text string) {
	t.Helper()
	b, err := os.ReadFile("../docs/ec2.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults = make(map[string]string)
	tables, _, found := strings.Cut(string(b), "\n### Not to be combined\n")
	if !found {
		t.Error("docs/ec2.md does not say what cannot be combined")
	}
	for i, line := range strings.Split(tables, "\n") {
		row, isRow := strings.CutPrefix(line, "| `")
		if !isRow {
			continue
		}
		cells := strings.Split(strings.Trim(row, "|"), " | ")
		option, ok := strings.CutSuffix(cells[0], "`")
		if !ok || len(cells) != 4 {
			t.Errorf("docs/ec2.md:%d: not an option, its rule, its default and its difference: %s", i+1, line)
			continue
		}
		for _, cell := range cells {
			if strings.TrimSpace(cell) == "" {
				t.Errorf("docs/ec2.md:%d: %s has an empty cell", i+1, option)
			}
		}
		if _, twice := defaults[option]; twice {
			t.Errorf("docs/ec2.md:%d: %s is there twice", i+1, option)
		}
		defaults[option] = strings.Trim(cells[2], " ")
	}
	return defaults, string(b)
}

// TestOptionsAreDocumented walks the parameters of EC2LatentWorker and compares
// docs/ec2.md with them.
func TestOptionsAreDocumented(t *testing.T) {
	docs, text := documented(t)
	m, err := Parse("m.star", []byte("from buildbot.plugins import worker\nc = BuildmasterConfig = {}\n"+
		"c['workers'] = [worker.EC2LatentWorker('w', 'pw', 'm5.large', 'ami-1')]\n"), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defaults := defaultsOf(m.Workers[0])
	for _, p := range ec2Class.params {
		said, ok := docs[p.name]
		delete(docs, p.name)
		want, known := defaults[p.name]
		switch {
		case p.support == required:
			want = "required"
		case p.support == later:
			want = "refused"
		case !known:
			t.Errorf("%s: the test does not know where its default is", p.name)
			continue
		}
		if !ok {
			t.Errorf("docs/ec2.md has no row for %s", p.name)
		} else if said != want {
			t.Errorf("docs/ec2.md: the default of %s is %q, and it says %q", p.name, want, said)
		}
	}
	for option := range docs {
		t.Errorf("docs/ec2.md has a row for %s, which is no option", option)
	}
	for _, p := range sessionClass.params {
		if !strings.Contains(text, "`"+p.name+"`") {
			t.Errorf("docs/ec2.md does not name %s of boto3.session.Session", p.name)
		}
	}
	for _, word := range userDataWords {
		if !strings.Contains(text, "`%(worker:"+word+")s`") {
			t.Errorf("docs/ec2.md does not name %%(worker:%s)s", word)
		}
	}
	for key := range budgetKeys {
		if !strings.Contains(text, "`"+key+"`") {
			t.Errorf("docs/ec2.md does not name the budget's %s", key)
		}
	}
	if diff := cmp.Diff(ec2.Actions, sortedKeys(ratedActions)); diff != "" {
		t.Errorf("the actions that have rates (-called +named)\n%s", diff)
	}
	if diff := cmp.Diff(ec2.InstanceActions, sortedKeys(instanceActions)); diff != "" {
		t.Errorf("the actions that count instances (-called +named)\n%s", diff)
	}
	for _, key := range append(sortedKeys(rateKeys), "ec2_rates") {
		if !strings.Contains(text, "`"+key+"`") {
			t.Errorf("docs/ec2.md does not name the rates' %s", key)
		}
	}
	for _, product := range products {
		if base, _, vpc := strings.Cut(product, " ("); !vpc && !strings.Contains(text, "`"+base+"`") {
			t.Errorf("docs/ec2.md does not name the product %s", base)
		}
	}
}

// defaultsOf are the values of a worker of which only what is required was
// given, by parameter, as the documentation writes them.
func defaultsOf(w Worker) map[string]string {
	e := w.EC2
	out := make(map[string]string)
	for name, v := range map[string]any{
		"ami":              "", // given here
		"valid_ami_owners": e.ValidAMIOwners, "valid_ami_location_regex": e.ValidAMILocationRegex, "ami_filters": e.AMIFilters,
		"ami_ssm_parameter": e.AMISSMParameter, "launch_template": e.LaunchTemplate, "user_data": e.UserData, "bootstrap": e.Bootstrap,
		"associate_public_ip_address": e.AssociatePublicIPAddress, "elastic_ip": e.ElasticIP, "keypair_name": e.KeypairName, "security_name": e.SecurityName, "subnet_id": e.SubnetIDs,
		"security_group_ids": e.SecurityGroupIDs, "instance_profile_name": e.InstanceProfileName, "placement": e.Placement,
		"identifier": e.Session.Identifier, "secret_identifier": e.Session.SecretIdentifier, "aws_id_file_path": "", "session": e.Session,
		"spot_instance": e.SpotInstance, "max_spot_price": e.MaxSpotPrice, "price_multiplier": e.PriceMultiplier,
		"product_description": e.ProductDescription, "fallback_to_on_demand": e.FallbackToOnDemand, "price_per_hour": e.PricePerHour,
		"volumes": e.Volumes, "block_device_map": e.BlockDeviceMap, "tags": e.Tags, "instances": e.Instances,
		"build_wait_timeout": e.BuildWaitTimeout, "on_shutdown": "'" + e.OnShutdown + "'", "missing_timeout": e.MissingTimeout, "check_instance_interval": e.CheckInstanceInterval,
		"max_builds": w.MaxBuilds, "notify_on_missing": w.NotifyOnMissing, "properties": w.Properties,
		"defaultProperties": w.DefaultProperties, "keepalive_interval": w.KeepaliveInterval, "locks": w.Locks,
	} {
		out[name] = writtenDefault(v)
	}
	out["region"] = "the session's, else what AWS's configuration says, else `" + ec2.DefaultRegion + "`"
	if e.Region != "" {
		out["region"] = e.Region
	}
	return out
}

func writtenDefault(v any) string {
	switch v := v.(type) {
	case bool:
		return map[bool]string{true: "`True`", false: "`False`"}[v]
	case time.Duration:
		return "`" + strconv.FormatFloat(v.Seconds(), 'f', -1, 64) + "`"
	case *float64:
		if v != nil {
			return "`" + strconv.FormatFloat(*v, 'f', -1, 64) + "`"
		}
	}
	if value := reflect.ValueOf(v); v == nil || value.IsZero() {
		return "none"
	}
	return fmt.Sprintf("`%v`", v)
}
