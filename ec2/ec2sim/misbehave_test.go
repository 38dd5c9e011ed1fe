package ec2sim

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func scenario(t *testing.T, rules ...string) *Scenario {
	t.Helper()
	sc, err := ParseScenario([]byte(`{"seed": 3, "rules": [` + strings.Join(rules, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func (s *Server) hitsOf(t *testing.T, rule int) int {
	t.Helper()
	return s.Ledger().Scenario[rule].Hits
}

func describeKeys(t *testing.T, client *ec2.Client) error {
	t.Helper()
	_, err := client.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
	return err
}

// The same scenario throttles the same calls each time.
func TestThrottleAFraction(t *testing.T) {
	const calls = 400
	var runs [2][]int
	for i := range runs {
		s := newServer(t, Options{Scenario: scenario(t, `{"when": {"fraction": 0.3}, "do": {"throttle": true}}`)})
		client := newClient(s)
		for n := range calls {
			if err := describeKeys(t, client); err != nil {
				wantCode(t, err, "RequestLimitExceeded")
				runs[i] = append(runs[i], n)
			}
		}
		if got := s.hitsOf(t, 0); got != len(runs[i]) {
			t.Errorf("the rule counts %d hits of %d", got, len(runs[i]))
		}
	}
	if n := len(runs[0]); n < calls/5 || n > calls*2/5 {
		t.Errorf("%d of %d calls were throttled", n, calls)
	}
	if !slices.Equal(runs[0], runs[1]) {
		t.Error("the second time it was other calls")
	}
}

func TestFailNamedCalls(t *testing.T) {
	s := newServer(t, Options{Scenario: scenario(t,
		`{"when": {"action": "DescribeKeyPairs", "skip": 1, "times": 2}, "do": {"fail": {"code": "InternalError", "message": "it broke"}}}`)})
	client := newClient(s)
	for i, want := range []string{"", "InternalError", "InternalError", "", ""} {
		if err := describeKeys(t, client); codeOf(err) != want {
			t.Errorf("call %d: %v; want %q", i, err, want)
		} else if want != "" && !strings.Contains(err.Error(), "it broke") || want != "" && !strings.Contains(err.Error(), "StatusCode: 500") {
			t.Errorf("call %d: %v", i, err)
		}
	}
	run(t, client) // another action
	if got := s.Ledger().Scenario[0]; got.Matched != 5 || got.Hits != 2 {
		t.Errorf("%+v", got)
	}
}

// A failure with a condition of the offering is of those launches only, and
// nothing is started.
func TestFailALaunchByItsTags(t *testing.T) {
	s := newServer(t, Options{BootDelay: time.Hour, Scenario: scenario(t,
		`{"when": {"action": "RunInstances", "tags": {"worker": "w1"}}, "do": {"fail": {"code": "VcpuLimitExceeded"}}}`)})
	client := newClient(s)
	run(t, client, tagged(types.ResourceTypeInstance, "worker", "w2"))
	_, err := client.RunInstances(t.Context(), launchInput(tagged(types.ResourceTypeInstance, "worker", "w1")))
	wantCode(t, err, "VcpuLimitExceeded")
	if n := s.Ledger().Started; n != 1 {
		t.Errorf("%d instances were started", n)
	}
}

// A launch can be carried out although the answer says that it failed: the same
// token then finds what it has started.
func TestFailWhatWasCarriedOut(t *testing.T) {
	s := newServer(t, Options{BootDelay: time.Hour, Scenario: scenario(t,
		`{"when": {"action": "RunInstances", "zone": "a", "times": 1}, "do": {"fail": {"code": "Unavailable", "carried_out": true}}}`)})
	client := newClient(s)
	_, err := client.RunInstances(t.Context(), launchInput(token("one"), placed("us-east-1a")))
	wantCode(t, err, "Unavailable")
	if err == nil || !strings.Contains(err.Error(), "StatusCode: 503") || s.Ledger().Started != 1 {
		t.Errorf("%v, and %d were started", err, s.Ledger().Started)
	}
	if run(t, client, token("one"), placed("us-east-1a")); s.Ledger().Started != 1 {
		t.Error("the token has started two")
	}
}

func TestNoCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{BootDelay: time.Hour, Scenario: scenario(t,
			`{"name": "a is full", "when": {"zone": "a", "instance_type": "t3.micro", "market": "on-demand", "until": "1m"}, "do": {"capacity": 0}}`,
			`{"name": "b has two", "when": {"zone": "us-east-1b"}, "do": {"capacity": 2}}`,
		)})
		client := newClient(s)
		in := func(zone string) func(*ec2.RunInstancesInput) {
			return func(in *ec2.RunInstancesInput) { in.Placement = &types.Placement{AvailabilityZone: &zone} }
		}
		_, err := client.RunInstances(t.Context(), launchInput(in("us-east-1a")))
		wantCode(t, err, "InsufficientInstanceCapacity")
		if err == nil || !strings.Contains(err.Error(), "StatusCode: 500") || !strings.Contains(err.Error(), "choosing us-east-1b, us-east-1c") {
			t.Errorf("%v", err)
		}
		_, err = client.RunInstances(t.Context(), launchInput(func(in *ec2.RunInstancesInput) {
			in.SubnetId = aws.String(DefaultSubnets("us-east-1")[0])
		}))
		wantCode(t, err, "InsufficientInstanceCapacity")

		// Another type, another market, another zone.
		run(t, client, in("us-east-1a"), func(in *ec2.RunInstancesInput) { in.InstanceType = types.InstanceTypeT3Small })
		run(t, client, in("us-east-1a"), spot(""))
		run(t, client, in("us-east-1c"))
		// Where the request names no zone, it is one that has room.
		for range 6 {
			if got := *run(t, client).Instances[0].Placement.AvailabilityZone; got == "us-east-1a" {
				t.Error("it was started where there is no capacity")
			}
		}
		// A launch gets what there is, if that is enough.
		if got := len(run(t, client, in("us-east-1b"), func(in *ec2.RunInstancesInput) { in.MaxCount = aws.Int32(5) }).Instances); got != 2 {
			t.Errorf("%d instances of two", got)
		}
		_, err = client.RunInstances(t.Context(), launchInput(in("us-east-1b"), count(3)))
		wantCode(t, err, "InsufficientInstanceCapacity")

		time.Sleep(time.Minute)
		run(t, client, in("us-east-1a"))
	})
}

func spot(bid string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
		if bid != "" {
			in.InstanceMarketOptions.SpotOptions = &types.SpotMarketOptions{MaxPrice: &bid}
		}
	}
}

func TestSlowCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, Options{Scenario: scenario(t, `{"when": {"action": "RunInstances"}, "do": {"slow": "20s"}}`), BootDelay: time.Hour})
		client := newClient(s)
		began := time.Now()
		run(t, client)
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("it took %v", took)
		}
		if err := describeKeys(t, client); err != nil || time.Since(began) != 20*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A lost answer is of a launch that was carried out: the same token finds it.
func TestLoseAnswer(t *testing.T) {
	s := newServer(t, Options{BootDelay: time.Hour, Scenario: scenario(t,
		`{"when": {"action": "RunInstances", "times": 1}, "do": {"lose_answer": true}}`)})
	server := httptest.NewServer(s)
	defer server.Close()
	for name, client := range map[string]*ec2.Client{
		"round trip": newClient(s),
		"socket": newClient(s, func(o *ec2.Options) {
			o.BaseEndpoint, o.HTTPClient = aws.String(server.URL), server.Client()
		}),
	} {
		t.Run(name, func(t *testing.T) {
			s.SetScenario(s.playing.scenario)
			started := s.Ledger().Started
			token := func(in *ec2.RunInstancesInput) { in.ClientToken = aws.String(name) }
			_, err := client.RunInstances(t.Context(), launchInput(token, count(2)))
			if err == nil || codeOf(err) != "" || !strings.Contains(err.Error(), "EOF") {
				t.Fatalf("%v; want a broken connection", err)
			}
			if got := s.Ledger().Started - started; got != 2 {
				t.Errorf("%d instances were started", got)
			}
			out := run(t, client, token, count(2))
			if got := s.Ledger(); got.Started-started != 2 || !slices.ContainsFunc(got.Instances, func(e LedgerEntry) bool {
				return e.ID == *out.Instances[0].InstanceId
			}) {
				t.Errorf("after the second call %d instances were started", got.Started-started)
			}
		})
	}
}

// A call that fails loses nothing, and does not count.
func TestLoseOnlyGoodAnswers(t *testing.T) {
	s := newServer(t, Options{BootDelay: time.Hour, Scenario: scenario(t,
		`{"when": {"action": "RunInstances"}, "do": {"lose_answer": true}}`)})
	_, err := newClient(s).RunInstances(t.Context(), launchInput(func(in *ec2.RunInstancesInput) { in.ImageId = aws.String("ami-12345678") }))
	wantCode(t, err, "InvalidAMIID.NotFound")
	_, err = newClient(s).RunInstances(t.Context(), launchInput(func(in *ec2.RunInstancesInput) { in.DryRun = aws.Bool(true) }))
	wantCode(t, err, "DryRunOperation")
	if got := s.hitsOf(t, 0); got != 0 {
		t.Errorf("%d hits", got)
	}
}

func TestScenarioAtRunTime(t *testing.T) {
	s := newServer(t, Options{})
	client := newClient(s)
	ask := func(method, body string, headers ...string) (int, string) {
		r := httptest.NewRequest(method, "http://127.0.0.1:9/_sim/scenario", strings.NewReader(body))
		r.RemoteAddr = "127.0.0.1:5"
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	const always = `{"rules": [{"name": "never mind", "do": {"fail": {"code": "Unavailable"}}}]}`
	if status, text := ask("GET", ""); status != http.StatusOK || !strings.Contains(text, `"scenario": null`) {
		t.Errorf("%d %s", status, text)
	}
	if status, text := ask("POST", `{"rules": [{}]}`); status != http.StatusBadRequest || !strings.Contains(text, `rules[0]: has no "do"`) {
		t.Errorf("%d %s", status, text)
	}
	// A page in a browser of this machine may not.
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "http://evil.example"}} {
		if status, _ := ask("POST", always, header...); status != http.StatusForbidden {
			t.Errorf("%v: %d", header, status)
		}
	}
	if err := describeKeys(t, client); err != nil {
		t.Fatal(err)
	}
	if status, text := ask("POST", always); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	wantCode(t, describeKeys(t, client), "Unavailable")
	if status, text := ask("GET", ""); status != http.StatusOK || !strings.Contains(text, `"hits": 1`) || !strings.Contains(text, "never mind") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := ask("DELETE", ""); status != http.StatusOK || !strings.Contains(text, `"scenario": null`) {
		t.Errorf("%d %s", status, text)
	}
	if err := describeKeys(t, client); err != nil {
		t.Error(err)
	}
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:9/_sim/scenario", strings.NewReader(always))
	r.RemoteAddr = "192.0.2.1:5"
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r); w.Code != http.StatusForbidden {
		t.Errorf("another machine: %d", w.Code)
	}
}

// BenchmarkStruck measures what a scenario of 100 rules adds to a call that
// none of them is about, and to one that all are about.
func BenchmarkStruck(b *testing.B) {
	rules := make([]string, 100)
	for i := range rules {
		rules[i] = `{"when": {"action": "RunInstances", "fraction": 0.5}, "do": {"slow": "1s"}}`
	}
	sc, err := ParseScenario([]byte(`{"rules": [` + strings.Join(rules, ",") + `]}`))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	for _, action := range []string{"DescribeInstances", "RunInstances"} {
		b.Run(action, func(b *testing.B) {
			p := play(sc, now)
			hits := 0
			for b.Loop() {
				for range p.struck(doSlow, subject{action: action}, now) {
					hits++
				}
			}
			if (action == "RunInstances") != (hits > 0) {
				b.Errorf("%d hits", hits)
			}
		})
	}
}
