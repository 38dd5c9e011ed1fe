package master_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/master"
)

// TestCheck: what a master would refuse at its start, or never start, is said without
// asking anybody, with its place. It sets the environment, so it is not parallel.
func TestCheck(t *testing.T) {
	for _, name := range []string{"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent/config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
	for _, tt := range []struct {
		name, worker, budget string
		env                  map[string]string
		mistake, warning     string
	}{
		{name: "good", worker: ", price_per_hour=0.1", budget: "{'per_hour': 1, 'per_day': 3}"},
		{name: "an hour", worker: ", price_per_hour=0.1", budget: "{'per_hour': 0.05}", mistake: "worker bot will never be started: an instance at $0.1000 per hour is more than the whole budget"},
		{name: "a minute", worker: ", price_per_hour=60", budget: "{'per_day': 0.5}", mistake: "worker bot will never be started: the first minute"},
		{name: "a day", worker: ", price_per_hour=0.1", budget: "{'per_day': 1.2}", warning: "none is launched before 12:00 UTC"},
		{name: "on the spot its price is not known", worker: ", price_per_hour=0.1, spot_instance=True, fallback_to_on_demand=True", budget: "{'per_hour': 0.05}"},
		{name: "no price list in GovCloud", worker: ", region='us-gov-west-1'", budget: "{'per_hour': 1}", mistake: "worker bot will never be started, as a budget admits only what it can count: AWS's Price List takes no credentials of GovCloud (us-gov-west-1): give the worker price_per_hour"},
		{name: "but spot prices", worker: ", region='us-gov-west-1', spot_instance=True", budget: "{'per_hour': 1}"},
		{name: "no dollars in China", worker: ", region='cn-north-1', spot_instance=True", budget: "{'per_hour': 1}", mistake: "AWS has no prices in US dollars in China, and bills cn-north-1 in yuan"},
		{name: "a price of one's own there", worker: ", region='cn-north-1', spot_instance=True, price_per_hour=2", budget: "{'per_hour': 1}", mistake: "worker bot will never be started: an instance at $2.00 per hour"},
		{name: "without a budget no price is needed", worker: ", region='cn-north-1'"},
		{name: "a region of the environment", env: map[string]string{"AWS_REGION": "nowhere"}, mistake: `"nowhere" is not the name of an AWS region`},
		{name: "a profile that is not there", env: map[string]string{"AWS_PROFILE": "nobody"}, mistake: "nobody"},
		{name: "a zone of another region", worker: ", placement='eu-west-1a'", env: map[string]string{"AWS_REGION": "us-west-2"}, mistake: "the zone eu-west-1a is not in us-west-2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			text := `from buildbot.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 9989}}
c['workers'] = [
    worker.EC2LatentWorker('bot', 'EGOUYEFRXV6QD2DZNCHTIGB7EM', 'm5.large', ami='ami-1'` + tt.worker + `)]
c['builders'] = [util.BuilderConfig(name='b', workernames=['bot'], factory=util.BuildFactory([steps.ShellCommand(command='true')]))]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b'])]
`
			if tt.budget != "" {
				text += "c['budget'] = " + tt.budget + "\n"
			}
			file := filepath.Join(t.TempDir(), "master.star")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := config.Load(file, config.Options{})
			if err != nil {
				t.Fatal(err)
			}
			mistakes, warnings := master.Check(t.Context(), c)
			for _, of := range []struct {
				kind string
				got  []config.Error
				want string
			}{{"mistake", mistakes, tt.mistake}, {"warning", warnings, tt.warning}} {
				switch {
				case of.want == "" && len(of.got) == 0:
				case of.want == "" || len(of.got) != 1 || !strings.Contains(of.got[0].Message, of.want) || of.got[0].File != file || of.got[0].Line != 5:
					t.Errorf("%s: %+v, want %q", of.kind, of.got, of.want)
				}
			}
		})
	}
}
