package master_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
)

// TestAgentEndsWithItsInstance: the agent of an instance that is ended by somebody else
// says that it ends, too, and is not to blame for that no build had: its worker is in no
// quarantine. One that ends by itself is, and one of whose instance EC2 does not tell.
func TestAgentEndsWithItsInstance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                 string
		ends, denied, blamed bool // ends: the instance, and not the agent alone
	}{
		{"the instance is ended", true, false, false},
		{"the agent ends by itself", false, false, true},
		{"the instance is ended, and EC2 does not tell", true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			machines := make(chan ec2sim.Machine, 1)
			if !tt.ends {
				s.boot = func(m ec2sim.Machine) { machines <- m }
			}
			m := s.startWith(`
c['workers'] = [ec2('bot')]
forced([builder('b', ['bot'], '''`+gated(filepath.Join(s.dir, "gate"))+`''')])
`, func(o *master.Options) { o.TimeScale = 4 }) // neither a quarantine nor the pause before the next try ends meanwhile
			m.force("b", 1)
			ctx, stop := context.WithCancel(t.Context())
			first := make(chan error, 1)
			if !tt.ends {
				machine := <-machines
				go func() { first <- s.agentOn(machine).Run(ctx) }()
			}
			m.awaitLine("b", "3")
			if tt.denied {
				deny := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
					if formOf(r).Get("Action") == "DescribeInstances" {
						w.WriteHeader(http.StatusForbidden)
						_, _ = w.Write([]byte(`<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>`))
						return
					}
					call.ServeHTTP(w, r)
				}
				s.around.Store(&deny)
			}
			stop()
			if tt.ends {
				id := s.endpoint.Ledger().Instances[0].ID
				if _, err := s.client().TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
					t.Fatal(err)
				}
			} else if err := <-first; err != nil {
				t.Error(err)
			}
			var w dormouse.WorkerStatus
			m.until("the generation ends", func() bool {
				w = m.worker("bot")
				return w.Phase == "not substantiated"
			})
			s.around.Store(nil) // the master looks at what it ends
			if w.QuarantinedUntil.IsZero() == tt.blamed {
				t.Errorf("quarantined until %v for %q", w.QuarantinedUntil, w.Reason)
			}
			if tt.blamed && !strings.Contains(w.Reason, "its agent was told to end") {
				t.Errorf("the reason is %q", w.Reason)
			}
		})
	}
}
