package ec2_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// quiet boots machines that print a line and do nothing more.
func quiet(_ context.Context, m ec2sim.Machine) (ec2sim.Process, error) {
	_, err := m.Console.Write([]byte("booted with " + string(m.UserData) + "\n"))
	return quietProcess{}, err
}

type quietProcess struct{}

func (quietProcess) Exited() <-chan struct{}    { return nil }
func (quietProcess) Status() string             { return "" }
func (quietProcess) Stop(context.Context) error { return nil }
func (quietProcess) Discard() error             { return nil }

func openSim(t *testing.T, url string, transport http.RoundTripper, secret, deployment string) *ec2.Account {
	t.Helper()
	t.Helper()
	a, err := ec2.Open(t.Context(), ec2.Session{
		AccessKeyID: ec2sim.DefaultAccessKeyID, SecretAccessKey: secret, EndpointURL: url,
	}, "us-east-1", ec2.Deployment{ID: deployment}, ec2.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func simSpec() ec2.LaunchSpec {
	return ec2.LaunchSpec{
		Worker: "bot1", InstanceTypes: []string{"m5.large"}, AMI: ec2sim.ScriptImageID,
		KeypairName: "bot", SecurityName: "bot", Region: "us-east-1", Placement: "a",
		Tags:           map[string]string{"Team": "a*b"},
		BlockDeviceMap: []map[string]any{{"DeviceName": "/dev/xvdb", "Ebs": map[string]any{"VolumeSize": 8}}},
	}
}

// TestLifeAtTheLocalEndpoint takes instances from their launch to their end.
func TestLifeAtTheLocalEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, err := ec2sim.New(ec2sim.Options{Boot: quiet, BootDelay: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := sim.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		a := openSim(t, "http://ec2.test", sim, ec2sim.DefaultSecretAccessKey, "d?1")
		stranger := openSim(t, "http://ec2.test", sim, ec2sim.DefaultSecretAccessKey, "dx1")
		spec := simSpec()
		launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 3, []byte("#!/bin/sh"), map[string]string{ec2.TagLaunch: "7"})
		if err != nil {
			t.Fatal(err)
		}
		token := ec2.Token("d?1", "7", 1)
		started, err := a.Launch(t.Context(), launch, token)
		if err != nil || len(started) != 3 {
			t.Fatalf("started %v, %v", started, err)
		}
		again, err := a.Launch(t.Context(), launch, token)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(ids(started), ids(again)); diff != "" {
			t.Errorf("the same token started others:\n%s", diff)
		}
		states := func(want ...dormouse.InstanceState) []dormouse.CloudInstance {
			t.Helper()
			instances, err := a.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []dormouse.InstanceState
			for _, i := range instances {
				got = append(got, i.State)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			return instances
		}
		states(dormouse.InstancePending, dormouse.InstancePending, dormouse.InstancePending)
		time.Sleep(3 * time.Second) // the bubble's
		running := states(dormouse.InstanceRunning, dormouse.InstanceRunning, dormouse.InstanceRunning)[0]
		if running.Zone != "us-east-1a" || running.ImageID != ec2sim.ScriptImageID || running.Market != dormouse.OnDemand ||
			running.Tags["Team"] != "a*b" || running.Tags[ec2.TagLaunch] != "7" || running.LaunchTime.IsZero() {
			t.Errorf("instance: %+v", running)
		}
		if others, err := stranger.List(t.Context()); err != nil || len(others) > 0 {
			t.Errorf("another deployment sees %v, %v", others, err)
		}
		console, err := a.Console(t.Context(), started[0].ID)
		if err != nil || !strings.Contains(console, "booted with #!/bin/sh") {
			t.Errorf("console %q, %v", console, err)
		}
		unknown := []string{"i-0123456789abcdef0", "i-nonsense"}
		failed, err := a.Terminate(t.Context(), append(unknown, started[0].ID, started[2].ID))
		if err != nil || len(failed) != 2 {
			t.Errorf("termination: %v, %v", failed, err)
		}
		for _, id := range unknown {
			if dormouse.CodeOf(failed[id]) != dormouse.NotFound {
				t.Errorf("%s: %v", id, failed[id])
			}
		}
		time.Sleep(time.Minute)
		states(dormouse.InstanceRunning, dormouse.InstanceTerminated, dormouse.InstanceTerminated)
	})
}

// TestMistakesAtTheLocalEndpoint goes over real sockets.
func TestMistakesAtTheLocalEndpoint(t *testing.T) {
	sim, err := ec2sim.New(ec2sim.Options{Boot: quiet})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		if err := sim.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	start := func(t *testing.T, secret string, change func(*ec2.LaunchSpec)) error {
		spec := simSpec()
		change(&spec)
		a := openSim(t, server.URL, transport, secret, "d1")
		launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
		if err != nil {
			return err
		}
		_, err = a.Launch(t.Context(), launch, ec2.Token("d1", t.Name(), 1))
		return err
	}
	tests := []struct {
		name   string
		secret string
		change func(*ec2.LaunchSpec)
		code   dormouse.Code
		says   string
	}{
		{"nothing wrong", ec2sim.DefaultSecretAccessKey, func(*ec2.LaunchSpec) {}, "", ""},
		{"wrong secret", "wrong", func(*ec2.LaunchSpec) {}, dormouse.Configuration, "secret_identifier"},
		{"unknown AMI", ec2sim.DefaultSecretAccessKey, func(s *ec2.LaunchSpec) { s.AMI = "ami-12345678" }, dormouse.Configuration, "AMI ami-12345678 does not exist in us-east-1 for this account"},
		{"malformed AMI", ec2sim.DefaultSecretAccessKey, func(s *ec2.LaunchSpec) { s.AMI = "ami-123" }, dormouse.Configuration, "AMI ami-123 does not exist"},
		{"unknown type", ec2sim.DefaultSecretAccessKey, func(s *ec2.LaunchSpec) { s.InstanceTypes = []string{"m5.nothing"} }, dormouse.Configuration, "m5.nothing"},
		{"unknown group", ec2sim.DefaultSecretAccessKey, func(s *ec2.LaunchSpec) { s.SecurityName, s.SecurityGroupIDs = "", []string{"sg-0123456789abcdef0"} }, dormouse.Configuration, "security_group_ids"},
		{"no image matches", ec2sim.DefaultSecretAccessKey, func(s *ec2.LaunchSpec) { s.AMI, s.ValidAMILocationRegex = "", `nothing-(\d+)` }, dormouse.Configuration, "no available image"},
		{"own images", ec2sim.DefaultSecretAccessKey, func(s *ec2.LaunchSpec) { s.AMI, s.ValidAMILocationRegex = "", `.*` }, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := start(t, tt.secret, tt.change)
			if dormouse.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q: %v; want %q saying %q", dormouse.CodeOf(err), err, tt.code, tt.says)
			}
		})
	}
}

func ids(instances []dormouse.CloudInstance) []string {
	var out []string
	for _, i := range instances {
		out = append(out, i.ID)
	}
	slices.Sort(out)
	return out
}
