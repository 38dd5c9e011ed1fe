package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/sqlite"
)

// onlineConfig has one worker for each element of workers: its arguments.
func onlineConfig(t *testing.T, endpoint string, workers ...string) string {
	t.Helper()
	var list, names strings.Builder
	for i, arguments := range workers {
		fmt.Fprintf(&list, "    worker.EC2LatentWorker('bot%d', 'EGOUYEFRXV6QD2DZNCHTIGB7EM', %s, session=session),\n", i+1, arguments)
		fmt.Fprintf(&names, "'bot%d', ", i+1)
	}
	text := fmt.Sprintf(`from buildbot.plugins import schedulers, steps, util, worker
import boto3
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 9989}}
session = boto3.session.Session(region_name='us-east-1', endpoint_url=%q, aws_access_key_id=%q, aws_secret_access_key=%q)
c['workers'] = [
%s]
c['builders'] = [util.BuilderConfig(name='b', workernames=[%s], factory=util.BuildFactory([steps.ShellCommand(command='true')]))]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b'])]
`, endpoint, ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, list.String(), names.String())
	file := filepath.Join(t.TempDir(), "master.star")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func checkOnline(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	cmd := newRootCommand()
	var stdout, stderr bytes.Buffer
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(append([]string{"checkconfig", "--online"}, args...))
	err = cmd.ExecuteContext(t.Context())
	if strings.Contains(stdout.String()+stderr.String(), ec2sim.DefaultSecretAccessKey) {
		t.Error("it prints the secret")
	}
	return stdout.String(), err
}

func noAWS(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent/config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
}

func simServer(t *testing.T) (sim *ec2sim.Server, url string) {
	t.Helper()
	return simServerWith(t, ec2sim.Options{})
}

func simServerWith(t *testing.T, o ec2sim.Options) (sim *ec2sim.Server, url string) {
	t.Helper()
	sim, err := ec2sim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(func() {
		server.Close()
		if err := sim.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return sim, server.URL
}

func TestCheckconfigOnline(t *testing.T) {
	noAWS(t)
	_, url := simServer(t)
	good := fmt.Sprintf("'m5.large', ami=%q, keypair_name='k', security_name='g'", ec2sim.ScriptImageID)
	regex := `'m5.large', valid_ami_owners=123456789012, valid_ami_location_regex='.*dormouse-([a-z]+)'`
	bad := `'m5.large', ami='ami-12345678'`

	out, err := checkOnline(t, onlineConfig(t, url, good, regex))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"WORKER ", "all     credentials", "bot2    image", "user/" + ec2sim.DefaultAccessKeyID,
		"k does not exist; it will be created at the first start", "g is not in the default VPC; it will be created at the first start",
		"m5.large on-demand in any zone: EC2 allows it; capacity and quota were not asked",
		"the last of 2 that match", "1. ami-", "2. ami-",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}

	file := onlineConfig(t, url, good, bad)
	out, err = checkOnline(t, file)
	if err == nil || err.Error() != "EC2 would not start what "+file+" describes" {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(out, "AMI ami-12345678 does not exist in us-east-1") {
		t.Errorf("it does not say what is wrong:\n%s", out)
	}
	out, err = checkOnline(t, file, "--json")
	if !errors.Is(err, errFailed) {
		t.Errorf("error %v", err)
	}
	var got checked
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.OK || got.Online == nil || len(got.Online.Workers) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	states := map[string]ec2.FindingState{}
	for _, f := range got.Online.Workers[1].Findings {
		states[f.What] = f.State
	}
	if diff := cmp.Diff(map[string]ec2.FindingState{
		"credentials": "ok", "region": "ok", "image": "wrong", "instance_type": "ok", "launch": "warning", "permissions": "ok", "quota": "ok", "budget": "ok",
	}, states); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestCheckconfigOnlineMisspeltRegion: it is the region that is wrong, not the
// keys.
func TestCheckconfigOnlineMisspeltRegion(t *testing.T) {
	noAWS(t)
	_, url := simServer(t)
	good := fmt.Sprintf("'m5.large', ami=%q", ec2sim.ScriptImageID)
	out, err := checkOnline(t, onlineConfig(t, url, good, good+", region='us-est-1'"))
	if err == nil || !strings.Contains(out, "there is no region us-est-1; those of this account: us-east-1") || strings.Contains(out, "keys") {
		t.Errorf("%v\n%s", err, out)
	}
	if strings.Count(out, "wrong") != 1 {
		t.Errorf("more is wrong than the region:\n%s", out)
	}
}

// TestCheckconfigOnlineChangesNothing: not even what a start would create.
func TestCheckconfigOnlineChangesNothing(t *testing.T) {
	noAWS(t)
	_, url := simServer(t)
	file := onlineConfig(t, url, fmt.Sprintf("'m5.large', ami=%q, keypair_name='k', security_name='g'", ec2sim.ScriptImageID))
	first, err := checkOnline(t, file)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := checkOnline(t, file); err != nil || again != first {
		t.Errorf("again it says %v:\n%s", err, cmp.Diff(first, again))
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 {
		t.Errorf("files were made: %v, %v", entries, err)
	}
}

// TestCheckconfigOnlineStranded: what may still run where the configuration no
// longer looks is named.
func TestCheckconfigOnlineStranded(t *testing.T) {
	noAWS(t)
	_, url := simServer(t)
	file := onlineConfig(t, url, fmt.Sprintf("'m5.large', ami=%q", ec2sim.ScriptImageID))
	db, err := sqlite.Open(t.Context(), filepath.Join(filepath.Dir(file), "dormouse.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	owner, err := db.AcquireLease(t.Context(), "m", time.Minute, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	account, err := ec2.Open(t.Context(), ec2.Session{
		AccessKeyID: ec2sim.DefaultAccessKeyID, SecretAccessKey: ec2sim.DefaultSecretAccessKey, EndpointURL: url,
	}, "us-east-1", ec2.Deployment{ID: "d"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	err = owner.SaveWorker(t.Context(), store.WorkerRecord{Name: "old", State: []byte("{}"), UpdatedAt: now},
		dormouse.Generation{Worker: "old", Number: 1, Account: "eu-west-1/default", Region: "eu-west-1", OpenedAt: now, ClosedAt: now},
		dormouse.Generation{Worker: "old", Number: 2, Account: "eu-west-1/default", Region: "eu-west-1", OpenedAt: now},
		dormouse.Generation{Worker: "old", Number: 3, Account: account.Key(), Region: "us-east-1", OpenedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	out, err := checkOnline(t, file)
	if err != nil || strings.Count(out, "is still open") != 1 ||
		!strings.Contains(out, "generation 2 of worker old is still open in account eu-west-1/default, which no worker of the configuration uses") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// armImage is an image that no x86_64 type runs.
const armImage = "ami-0000000000000a64a"

// TestCheckconfigOnlineSaysWhatWillNeverStart, and exits with 1: what a master would
// run into only once a build waits.
func TestCheckconfigOnlineSaysWhatWillNeverStart(t *testing.T) {
	noAWS(t)
	_, url := simServerWith(t, ec2sim.Options{Images: []ec2sim.Image{{ID: armImage, Name: "arm", Architecture: "arm64"}}})
	good := fmt.Sprintf("'t3.micro', ami=%q", ec2sim.ScriptImageID)
	budget := func(text string) string { return "\nc['budget'] = " + text + "\n" }
	for _, tt := range []struct {
		name, worker, more string
		wrong              bool
		want               string
	}{
		{"an image for another processor", fmt.Sprintf("['t4g.micro', 't3.micro'], ami=%q", armImage), "", true, "t3.micro cannot run " + armImage},
		{"an image that fits", fmt.Sprintf("'t4g.micro', ami=%q", armImage), "", false, "t4g.micro: arm64, as the image"},
		{"a type that does not exist", fmt.Sprintf("'t3.gigantic', ami=%q", ec2sim.ScriptImageID), "", true, "t3.gigantic: there is no such type"},
		{"a budget below an hour", good, budget("{'per_hour': 0.01}"), true, "more than the whole budget"},
		{"a budget below an hour, on the spot", good + ", spot_instance=True", budget("{'per_hour': 0.0001}"), true, "more than the whole budget"},
		{"a budget that one of two fits into", fmt.Sprintf("['c5.xlarge', 't3.micro'], ami=%q", ec2sim.ScriptImageID), budget("{'per_hour': 0.02}"), false, "more than the whole budget"},
		{"a budget below a day", good, budget("{'per_day': 0.1}"), false, "none is launched before 14:24 UTC"},
		{"a budget below a minute", good, budget("{'per_day': 0.0001}"), true, "first minute"},
		{"a budget that fits", good, budget("{'per_hour': 1, 'per_day': 10}"), false, "t3.micro on-demand in any zone: $0.0104 an hour (AWS Price List)"},
	} {
		file := onlineConfig(t, url, tt.worker)
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, append(text, tt.more...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		out, err := checkOnline(t, file)
		if (err != nil) != tt.wrong || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v\n%s", tt.name, err, out)
		}
	}
}

// TestCheckconfigOnlineTriesWhatIsNeeded with DryRun: a right that is missing shows
// before there is an instance that it is missing for.
func TestCheckconfigOnlineTriesWhatIsNeeded(t *testing.T) {
	noAWS(t)
	sim, url := simServer(t)
	file := onlineConfig(t, url, fmt.Sprintf("'t3.micro', ami=%q, keypair_name='k', security_name='g', spot_instance=True", ec2sim.ScriptImageID))
	out, err := checkOnline(t, file)
	if err != nil || !strings.Contains(out, "EC2 allows DescribeInstances, TerminateInstances, GetConsoleOutput, DescribeVolumes, CreateKeyPair, CreateSecurityGroup, DescribeSpotInstanceRequests, CancelSpotInstanceRequests") {
		t.Errorf("%v\n%s", err, out)
	}
	for action, wrong := range map[string]bool{
		"RunInstances": true, "TerminateInstances": true, "DescribeInstances": true, "CreateKeyPair": true, "CreateSecurityGroup": true,
		"DescribeSpotPriceHistory": true, "GetConsoleOutput": false, "CancelSpotInstanceRequests": false, "DescribeSpotInstanceRequests": false,
	} {
		scenario, err := ec2sim.ParseScenario([]byte(`{"rules": [{"when": {"action": "` + action + `"}, "do": {"fail": {"code": "UnauthorizedOperation", "status": 403}}}]}`))
		if err != nil {
			t.Fatal(err)
		}
		sim.SetScenario(scenario)
		out, err := checkOnline(t, file)
		if (err != nil) != wrong || !strings.Contains(out, action+" in us-east-1") || !strings.Contains(out, "UnauthorizedOperation") {
			t.Errorf("%s denied: %v\n%s", action, err, out)
		}
	}
	if n := len(sim.Ledger().Instances); n != 0 {
		t.Errorf("%d instances were started", n)
	}
}
