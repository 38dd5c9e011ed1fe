package master_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/web"
)

// TestCopiedDirectory starts a master on a copy of another one's directory: it is
// refused, and the other's instance lives. Once a person says that the other is
// gone, it goes on in its place, and ends what it left.
func TestCopiedDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := "c['workers'] = [ec2('bot', on_shutdown='keep', build_wait_timeout=3600)]\nforced([builder('b', ['bot'], 'true')])"
	m := s.start(text)
	m.ended(m.force("b", 1)[0].ID)
	m.stop()
	alive := func() (n int) {
		for _, i := range s.endpoint.Ledger().Instances {
			if !i.State.Ended() {
				n++
			}
		}
		return n
	}
	if n := alive(); n != 1 {
		t.Fatalf("%d instances are kept", n)
	}
	original, copied := filepath.Join(s.dir, "master"), filepath.Join(s.dir, "copy")
	if err := os.CopyFS(copied, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	options := func(adopt bool) master.Options {
		t.Helper()
		source, err := os.ReadFile(filepath.Join(copied, "master.star"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(filepath.Join(copied, "master.star"), source, config.Options{BaseDir: copied})
		if err != nil {
			t.Fatal(err)
		}
		return master.Options{Config: c, Token: testToken, Log: slog.New(slog.DiscardHandler), AdoptDeployment: adopt, TimeScale: 1.0 / 60}
	}

	m = s.start(text) // a restart is no copy
	for range 2 {
		if _, err := master.Start(t.Context(), options(false)); !errors.Is(err, store.ErrCopy) {
			t.Fatalf("the copy starts: %v", err)
		}
	}
	if n := alive(); n != 1 {
		t.Errorf("%d instances are alive beside the copy", n)
	}
	if got := m.worker("bot"); got.InstanceID == "" {
		t.Errorf("the original lost its instance: %+v", got)
	}
	m.stop()

	// The original's directory is gone; what it started meanwhile is not known here.
	adopting, err := master.Start(t.Context(), options(true))
	if err != nil {
		t.Fatal(err)
	}
	next := &run{Master: adopting, t: t}
	defer next.stop()
	deployment := next.DeploymentID()
	launched, err := s.client().RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: aws.String(ec2sim.WorkerImageID), InstanceType: types.InstanceTypeT3Small, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String(dormouse.TagDeployment), Value: &deployment}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stray := *launched.Instances[0].InstanceId
	next.look("the stray's end", func() bool {
		if _, err := next.Leftovers(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		for _, i := range s.endpoint.Ledger().Instances {
			if i.ID == stray && i.State.Ended() {
				return true
			}
		}
		return false
	})
	next.ended(next.force("b", 1)[0].ID)
	if list, err := next.Builds(t.Context(), web.BuildQuery{Limit: 10}); err != nil || len(list) != 2 {
		t.Errorf("builds: %+v, %v", list, err)
	}
}
