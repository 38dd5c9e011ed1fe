package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reading reads lines below the usual first ones, and returns the
// configuration and, line by line, what was said about them: errors, or else
// warnings.
func reading(t *testing.T, lines string) (m *Master, said []string) {
	t.Helper()
	src := "from buildbot.plugins import *; c = BuildmasterConfig = {}\n" + lines + "\n"
	m, err := Parse("m.star", []byte(src), testOptions())
	if err != nil {
		return nil, strings.Split(err.Error(), "\n")
	}
	for _, w := range m.Warnings {
		said = append(said, w.Error())
	}
	return m, said
}

func wantSaid(t *testing.T, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

// TestOurParameters reads what Buildbot's EC2LatentWorker does not have.
func TestOurParameters(t *testing.T) {
	for _, tt := range []struct {
		args string
		want func(*EC2LatentWorker)
	}{
		{"ami='ami-1', launch_template='lt-0123'", func(e *EC2LatentWorker) { e.LaunchTemplate.ID = "lt-0123" }},
		{"ami='ami-1', launch_template='ci (linux)/1'", nil},
		{"ami='ami-1', launch_template='ci/linux'", func(e *EC2LatentWorker) { e.LaunchTemplate.Name = "ci/linux" }},
		{"ami='ami-1', launch_template={'LaunchTemplateId': 'lt-1', 'Version': '$Latest'}", func(e *EC2LatentWorker) {
			e.LaunchTemplate = LaunchTemplate{ID: "lt-1", Version: "$Latest"}
		}},
		{"ami='ami-1', launch_template={'LaunchTemplateName': 'linux', 'Version': 3}", func(e *EC2LatentWorker) {
			e.LaunchTemplate = LaunchTemplate{Name: "linux", Version: "3"}
		}},
		{"ami='ami-1', associate_public_ip_address=True", func(e *EC2LatentWorker) { e.AssociatePublicIPAddress = new(true) }},
		{"ami='ami-1', associate_public_ip_address=0, elastic_ip='192.0.2.1'", func(e *EC2LatentWorker) {
			e.AssociatePublicIPAddress, e.ElasticIP = new(false), "192.0.2.1"
		}},
		{"ami='ami-1', associate_public_ip_address=None", func(*EC2LatentWorker) {}},
		{"ami='ami-1', launch_template=None, bootstrap=None, ami_filters=None, ami_ssm_parameter=None", func(*EC2LatentWorker) {}},
		{"ami_ssm_parameter='/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64'", func(e *EC2LatentWorker) {
			e.AMI, e.AMISSMParameter = "", "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
		}},
		{"ami_ssm_parameter='arn:aws:ssm:eu-west-1:123456789012:parameter/ci/image:7'", func(e *EC2LatentWorker) {
			e.AMI, e.AMISSMParameter = "", "arn:aws:ssm:eu-west-1:123456789012:parameter/ci/image:7"
		}},
		{"valid_ami_owners=5, ami_filters={'name': 'ci-*', 'architecture': ('arm64', 'x86_64'), 'tag:Team': 'ci', 'state': 'available'}", func(e *EC2LatentWorker) {
			e.AMI, e.ValidAMIOwners = "", []string{"000000000005"}
			e.AMIFilters = map[string][]string{"name": {"ci-*"}, "architecture": {"arm64", "x86_64"}, "tag:Team": {"ci"}, "state": {"available"}}
		}},
		{"ami='ami-1', bootstrap='cloud-init'", func(e *EC2LatentWorker) { e.Bootstrap = "cloud-init" }},
	} {
		m, said := reading(t, "c['workers'] = [worker.EC2LatentWorker('w', 'pw', 'm5.large', "+tt.args+")]")
		if tt.want == nil {
			if m != nil {
				t.Errorf("%s is read", tt.args)
			}
			continue
		}
		if m == nil {
			t.Errorf("%s: %s", tt.args, said)
			continue
		}
		base, _ := reading(t, "c['workers'] = [worker.EC2LatentWorker('w', 'pw', 'm5.large', ami='ami-1')]")
		want, got := *base.Workers[0].EC2, *m.Workers[0].EC2
		tt.want(&want)
		want.Pos = got.Pos
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestBudget(t *testing.T) {
	const one = "c['workers'] = [worker.Worker('w', 'pw')]\n"
	for _, tt := range []struct {
		lines string
		want  Budget
		said  []string
	}{
		{"c['budget'] = {'per_hour': 2, 'per_day': 12.5}", Budget{new(2.0), new(12.5)}, nil},
		{"c['budget'] = {'per_day': 1}", Budget{PerDay: new(1.0)}, nil},
		{"c['budget'] = {'per_hour': 3}\nc['budget']['per_day'] = 9", Budget{new(3.0), new(9.0)}, nil},
		{"c['budget'] = None", Budget{}, nil},
		{"c['budget'] = {}", Budget{}, []string{"m.star:3:15: c['budget'] must be a dictionary with per_hour, per_day or both, not an empty dictionary"}},
		{"c['budget'] = 5", Budget{}, []string{"m.star:3:15: c['budget'] must be a dictionary, not 5"}},
		{"c['budget'] = {'per_hour': 0}", Budget{}, []string{"m.star:3:28: c['budget']['per_hour'] must be a positive amount of US dollars, not 0"}},
		{"c['budget'] = {'per_hour': '2$', 'per_day': float('inf')}", Budget{}, []string{
			"m.star:3:28: c['budget']['per_hour'] must be a positive amount of US dollars, not \"2$\"",
			"m.star:3:45: c['budget']['per_day'] must be a positive amount of US dollars, not +inf",
		}},
		{"c['budget'] = {'per_hour': None}", Budget{}, []string{"m.star:3:28: c['budget']['per_hour'] must be a positive amount of US dollars, not None"}},
		{"c['budget'] = {'per_hour': 1, 'per_week': 5}", Budget{}, []string{"m.star:3:31: c['budget'] has no key \"per_week\" (there is per_day, per_hour)"}},
		{"c['budget'] = {'per_hour': 1}\nc['budget']['perday'] = 5", Budget{}, []string{"m.star:4:13: c['budget'] has no key \"perday\" (did you mean per_day?)"}},
	} {
		m, said := reading(t, one+tt.lines)
		if tt.said != nil {
			wantSaid(t, tt.said, said)
			continue
		}
		if m == nil {
			t.Errorf("%s: %s", tt.lines, said)
		} else if diff := cmp.Diff(tt.want, m.Budget); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.lines, diff)
		}
	}
}

// TestNamesOfInstances holds that the workers NAME-1, NAME-2, … of a definition
// are nobody else's, and what they are named by.
func TestNamesOfInstances(t *testing.T) {
	const ec2 = "worker.EC2LatentWorker"
	worker := func(name, more string) string {
		return ec2 + "('" + name + "', 'pw', 'm5.large', 'ami-1'" + more + "),\n"
	}
	builder := func(names string) string {
		return "c['builders'] = [util.BuilderConfig(name='b', workernames=" + names + ", factory=util.BuildFactory())]\n"
	}
	for _, tt := range []struct {
		name, workers, more string
		want                []string
	}{
		{"a worker of the name of another's", worker("bot", ", instances=3") + worker("bot-3", ""), "", []string{
			`m.star:4:24: there is another worker "bot-3", on line 3`,
		}},
		{"before it", worker("bot-1", "") + worker("bot", ", instances=3"), "", []string{
			`m.star:4:24: there is another worker "bot-1", on line 3`,
		}},
		{"the definition's own name", worker("bot", ", instances=2") + worker("bot", ""), "", []string{
			`m.star:4:24: there is another worker "bot", on line 3`,
		}},
		{"two definitions", worker("bot", ", instances=12") + worker("bot-1", ", instances=2"), "", []string{
			`m.star:4:24: there is another worker "bot-1", on line 3`,
		}},
		{"one of them in a builder", worker("bot", ", instances=3"), builder("['bot-2']"), []string{
			`m.star:5:60: builder "b": there is no worker "bot-2" (builders name all workers of a definition by its own name, bot)`,
		}},
		{"none of them in a builder", worker("bot", ", instances=3"), builder("['bot-4']"), []string{
			`m.star:5:60: builder "b": there is no worker "bot-4" (did you mean bot?)`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, said := reading(t, "c['workers'] = [\n"+tt.workers+"]\n"+tt.more)
			wantSaid(t, tt.want, said)
		})
	}
	if m, said := reading(t, "c['workers'] = [\n"+worker("bot", ", instances=3")+worker("bot-4", "")+worker("bot-0", "")+"]\n"+builder("['bot', 'bot-4', 'bot-0']")); m == nil {
		t.Errorf("refused: %s", said)
	}
}

// TestUnsupported holds what is refused until it means something.
func TestUnsupported(t *testing.T) {
	_, said := reading(t, "c['workers'] = [worker.EC2LatentWorker('w', 'pw', 'm5.large', 'ami-1', machine_name='m')]")
	wantSaid(t, []string{
		"m.star:2:72: worker.EC2LatentWorker: machine_name is not supported yet",
	}, said)
	_, said = reading(t, "c['workers'] = [worker.EC2LatentWorker('w', 'pw', 'm5.large', 'ami-1', securty_name='a')]")
	wantSaid(t, []string{"m.star:2:72: worker.EC2LatentWorker has no argument securty_name (did you mean security_name?)"}, said)
	if _, said := reading(t, "c['workers'] = [worker.EC2LatentWorker('w', 'pw', 'm5.large', 'ami-1', machine_name=None)]"); strings.Contains(strings.Join(said, "\n"), "supported") {
		t.Errorf("what is not asked for is refused: %s", said)
	}
}

// TestEC2Warnings holds what is legal and probably not meant.
func TestEC2Warnings(t *testing.T) {
	const (
		reach = " (let c['protocols'] listen on all interfaces, and name this machine in c['buildbotURL'])"
		boots = "m.star:2:65: worker.EC2LatentWorker: an instance cannot reach the master: "
		every = " (anybody can publish an image that matches; add valid_ami_owners)"
	)
	protocols := func(port string) string {
		return "c['protocols'] = {'msgpack_experimental_v7': {'port': " + port + "}}\n"
	}
	for _, tt := range []struct {
		name, args, more string
		want             string // of the warnings about the worker's arguments
	}{
		{"a regex alone", "valid_ami_location_regex='a'", "", "m.star:2:65: worker.EC2LatentWorker: valid_ami_location_regex without valid_ami_owners searches every public image" + every},
		{"filters alone", "ami_filters={'name': 'ubuntu*'}", "", "m.star:2:65: worker.EC2LatentWorker: ami_filters without valid_ami_owners searches every public image" + every},
		{"a regex and owners", "valid_ami_location_regex='a', valid_ami_owners=1", "", ""},
		{"a filter by owner", "valid_ami_location_regex='a', ami_filters={'owner-alias': 'amazon'}", "", ""},
		{"a filter by tag", "ami_filters={'tag:Role': 'ci'}", "", ""},
		{"no spot", "ami='ami-1', max_spot_price=1", "", "m.star:2:78: worker.EC2LatentWorker: max_spot_price has no effect without spot_instance=True"},
		{"a key that the metadata cannot show", "ami='ami-1', tags={'Cost-Center_1:a@b=+.,': 'x', 'cost center': 'y'}", "", "m.star:2:114: worker.EC2LatentWorker: tags: EC2 refuses the launch for the key \"cost center\" where the account or the launch template shows tags in the instance metadata (use letters, digits and +-=.,_:@)"},
		{"a key that is a path", "ami='ami-1', tags={'team/ci': 'x'}", "", "m.star:2:84: worker.EC2LatentWorker: tags: EC2 refuses the launch for the key \"team/ci\" where the account or the launch template shows tags in the instance metadata (use letters, digits and +-=.,_:@)"},
		{"a key that is the list of keys", "ami='ami-1', tags={'_index': 'x'}", "", "m.star:2:84: worker.EC2LatentWorker: tags: EC2 refuses the launch for the key \"_index\" where the account or the launch template shows tags in the instance metadata (use letters, digits and +-=.,_:@)"},
		{"no spot to fall back from", "ami='ami-1', fallback_to_on_demand=True", "", "m.star:2:78: worker.EC2LatentWorker: fallback_to_on_demand has no effect without spot_instance=True"},
		{"bootstrap from loopback by default", "bootstrap='cloud-init', ami='ami-1'", "", boots + "it awaits workers at 127.0.0.1:9989, which only this machine can reach" + reach},
		{"bootstrap from loopback", "bootstrap='cloud-init', ami='ami-1'", protocols(`'tcp:1:interface=\\:\\:1'`), boots + "it awaits workers at [::1]:1, which only this machine can reach" + reach},
		{"bootstrap from nowhere", "bootstrap='cloud-init', ami='ami-1'", protocols("1"), boots + "c['buildbotURL'] does not say where it is" + reach},
		{"bootstrap from localhost", "bootstrap='cloud-init', ami='ami-1'", protocols("1") + "c['buildbotURL'] = 'http://localhost:8010/'", boots + "c['buildbotURL'] is http://localhost:8010/, which every machine takes for itself" + reach},
		{"bootstrap by URL", "bootstrap='cloud-init', ami='ami-1'", protocols("1") + "c['buildbotURL'] = 'http://ci.example.com/'", ""},
		{"bootstrap by interface", "bootstrap='cloud-init', ami='ami-1'", protocols("'tcp:1:interface=10.0.0.1'"), ""},
		{"two with an address", "ami='ami-1', elastic_ip='192.0.2.1'),\nworker.EC2LatentWorker('x', 'pw', 'm5.large', 'ami-1', elastic_ip='192.0.2.1'", "", `m.star:3:56: worker.EC2LatentWorker: the worker on line 2 has "192.0.2.1", too: only one of them can run at a time`},
		{"two with a volume", "ami='ami-1', volumes=[('vol-1', '/dev/sdf')]),\nworker.EC2LatentWorker('x', 'pw', 'm5.large', 'ami-1', volumes=[('vol-1', '/dev/sdf')]", "", `m.star:3:56: worker.EC2LatentWorker: the worker on line 2 has "vol-1", too: only one of them can run at a time`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, said := reading(t, "c['workers'] = [worker.EC2LatentWorker('www', 'pw', 'm5.large', "+tt.args+")]\n"+tt.more)
			if m == nil {
				t.Fatal(said)
			}
			var about []string
			for _, s := range said {
				if strings.Contains(s, ": worker.EC2LatentWorker: ") {
					about = append(about, s)
				}
			}
			if got := strings.Join(about, "\n"); got != tt.want {
				t.Errorf("said  %s\nwant  %s", got, tt.want)
			}
		})
	}
}
