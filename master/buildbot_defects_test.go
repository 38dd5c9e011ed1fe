package master_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/web"
)

// What goes wrong in Buildbot 3.7's EC2LatentWorker, one test for each: it does
// not here. The rest of the list is TestBuildbotDefect16 of cmd/dormouse.

// recorder keeps what the endpoint was asked, in order.
type recorder struct {
	mu    sync.Mutex
	forms []url.Values
}

// record begins to keep what the endpoint is asked. answer, when set, answers an
// action instead of the endpoint where it returns a text.
func (s *site) record(answer func(form url.Values) string) *recorder {
	rec := &recorder{}
	around := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
		form := formOf(r)
		if form.Get("Action") != "" {
			rec.mu.Lock()
			rec.forms = append(rec.forms, form)
			rec.mu.Unlock()
		}
		if answer != nil {
			if text := answer(form); text != "" {
				w.Header().Set("Content-Type", "text/xml")
				fmt.Fprint(w, text)
				return
			}
		}
		call.ServeHTTP(w, r)
	}
	s.around.Store(&around)
	return rec
}

func (r *recorder) of(action string) (out []url.Values) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.forms {
		if f.Get("Action") == action {
			out = append(out, f)
		}
	}
	return out
}

// one returns the only call of an action.
func (r *recorder) one(t *testing.T, action string) url.Values {
	t.Helper()
	calls := r.of(action)
	if len(calls) != 1 {
		t.Fatalf("%d calls of %s: %v", len(calls), action, calls)
	}
	return calls[0]
}

func (s *site) scenario(text string) {
	s.t.Helper()
	scenario, err := ec2sim.ParseScenario([]byte(text))
	if err != nil {
		s.t.Fatal(err)
	}
	s.endpoint.SetScenario(scenario)
}

// builds has one request built, and returns it with its builds, newest first.
func (r *run) built(builder string) (dormouse.BuildRequest, []dormouse.Build) {
	r.t.Helper()
	req := r.ended(r.force(builder, 1)[0].ID)
	if *req.Result != dormouse.Success {
		r.t.Fatalf("%+v", req)
	}
	builds, err := r.Builds(r.t.Context(), web.BuildQuery{Limit: 50})
	if err != nil {
		r.t.Fatal(err)
	}
	return req, builds
}

func (r *run) allGone(s *site) {
	r.t.Helper()
	r.look("the end of all instances", func() bool { return s.endpoint.Ledger().Alive() == 0 })
}

const oneBuilder = "forced([builder('b', ['bot'], 'true')])\n"

// A master that was killed leaves its instance to the next, which uses and ends
// it.
func TestBuildbotDefect01KilledMasterForgetsItsInstance(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := workersPort(t) + "c['workers'] = [ec2('bot', build_wait_timeout=3600)]\n" + oneBuilder
	m := s.start(text)
	_, before := m.built("b")
	m.crash()
	m = s.start(text)
	if _, builds := m.built("b"); builds[0].InstanceID != before[0].InstanceID {
		t.Errorf("built on %s, then on %s", before[0].InstanceID, builds[0].InstanceID)
	}
	m.stop()
	if ledger := s.endpoint.Ledger(); ledger.Started != 1 || ledger.Alive() != 0 {
		t.Errorf("%d instances, %d alive", ledger.Started, ledger.Alive())
	}
}

// The worker of an instance that was given up does not get the build that the
// next instance is started for.
func TestBuildbotDefect02OldInstanceTakesTheBuild(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secret := make(chan string, 1)
	s.deaf = 1
	s.boot = func(m ec2sim.Machine) {
		_, password, _ := strings.Cut(string(m.UserData), "DORMOUSE_WORKER_PASSWORD=")
		secret <- strings.TrimSpace(password)
	}
	old := make(chan string, 1)
	var m *run
	second := make(chan struct{})
	s.seen = func(machine ec2sim.Machine) {
		if s.boots.Load() == 0 {
			old <- machine.ID
		} else {
			<-second
		}
	}
	m = s.startWith(`c['workers'] = [worker.EC2LatentWorker('bot', 'password of bot', 't3.small', ami='`+ec2sim.WorkerImageID+`',
		session=session(), user_data=USER_DATA, build_wait_timeout=0, missing_timeout=5, check_instance_interval=1)]
`+oneBuilder, func(o *master.Options) { o.TimeScale = 0.05 })
	request := m.force("b", 1)[0]
	first, id := <-secret, <-old
	m.until("the second instance", func() bool { return !slices.Contains([]string{"", id}, m.worker("bot").InstanceID) })
	for _, password := range []string{first, "password of bot"} {
		if status := m.dial("bot", password, id); status < 400 {
			t.Errorf("the first instance attaches: %d", status)
		}
	}
	close(second)
	r := m.ended(request.ID)
	b, err := m.Build(t.Context(), r.BuildID)
	if err != nil || *r.Result != dormouse.Success || b.InstanceID == id {
		t.Errorf("%+v, %v; the first instance was %s", b, err, id)
	}
	m.allGone(s)
}

// An address that cannot be associated does not keep the instance from being
// ended.
func TestBuildbotDefect03FailedAddressLeaksTheInstance(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	address, err := s.client().AllocateAddress(t.Context(), &awsec2.AllocateAddressInput{})
	if err != nil {
		t.Fatal(err)
	}
	s.scenario(`{"rules": [
		{"name": "no association", "when": {"action": "AssociateAddress"}, "do": {"fail": {"code": "InvalidParameterValue"}}},
		{"name": "no disassociation", "when": {"action": "DisassociateAddress"}, "do": {"fail": {"code": "InternalError"}}}]}`)
	m := s.start("c['workers'] = [ec2('bot', elastic_ip='" + *address.PublicIp + "')]\n" + oneBuilder)
	request := m.force("b", 1)[0]
	m.until("the failure being said", func() bool { return strings.Contains(m.request(request.ID).Waiting, "InvalidParameterValue") })
	if err := m.CancelRequest(t.Context(), request.ID); err != nil {
		t.Fatal(err)
	}
	m.allGone(s)
	if s.endpoint.Ledger().Started == 0 {
		t.Error("no instance was started")
	}
}

// However often an instance that is to end cannot be looked at, it is ended.
func TestBuildbotDefect04FailedDescribesKeepTheInstance(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	m := s.start(fmt.Sprintf("c['workers'] = [ec2('bot', build_wait_timeout=0)]\nforced([builder('b', ['bot'], %q)])\n", gated(gate)))
	request := m.force("b", 1)[0]
	m.awaitLine("b", "3")
	s.scenario(`{"rules": [
		{"name": "blind", "when": {"action": "DescribeInstances", "times": 6}, "do": {"fail": {"code": "InternalError"}}},
		{"name": "deaf", "when": {"action": "TerminateInstances", "times": 1}, "do": {"fail": {"code": "InternalError"}}}]}`)
	open(t, gate)
	m.ended(request.ID)
	m.allGone(s)
	if got := s.endpoint.Ledger().Failures["InternalError"]; got == 0 {
		t.Error("no call failed")
	}
}

// A spot launch names the image that was chosen by owner and location.
func TestBuildbotDefect05SpotWithoutImage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	rec := s.record(nil)
	images, err := s.client().DescribeImages(t.Context(), &awsec2.DescribeImagesInput{ImageIds: []string{ec2sim.WorkerImageID}})
	if err != nil {
		t.Fatal(err)
	}
	image := images.Images[0]
	m := s.start(fmt.Sprintf("c['workers'] = [ec2('bot', ami=None, spot_instance=True, valid_ami_owners=[%s], valid_ami_location_regex=%q)]\n",
		*image.OwnerId, "^"+regexp.QuoteMeta(*image.ImageLocation)+"$") + oneBuilder)
	m.built("b")
	launch := rec.one(t, "RunInstances")
	if launch.Get("ImageId") != ec2sim.WorkerImageID || launch.Get("InstanceMarketOptions.MarketType") != "spot" {
		t.Errorf("%v", launch)
	}
}

// Without a placement the bid is the mean over the region's zones: no zone is
// asked for, least of all one called None.
func TestBuildbotDefect06PriceMultiplierWithoutPlacement(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	rec := s.record(prices(
		"us-east-1a", "0.010000",
		"us-east-1b", "0.030000",
	))
	m := s.start("c['workers'] = [ec2('bot', spot_instance=True, price_multiplier=1.5, max_spot_price=1.0)]\n" + oneBuilder)
	m.built("b")
	for _, call := range rec.of("DescribeSpotPriceHistory") {
		if zone := call.Get("AvailabilityZone"); zone != "" {
			t.Errorf("asked for the zone %q", zone)
		}
	}
	if bid := rec.one(t, "RunInstances").Get("InstanceMarketOptions.SpotOptions.MaxPrice"); bid != "0.03" {
		t.Errorf("the bid is %q, want 1.5 × the mean of 0.01 and 0.03", bid)
	}
}

// prices answers the question for the spot price history, in pages of one price.
func prices(zonesAndPrices ...string) func(url.Values) string {
	at := time.Now().Add(-25 * time.Hour).UTC().Format(time.RFC3339)
	return func(form url.Values) string {
		if form.Get("Action") != "DescribeSpotPriceHistory" {
			return ""
		}
		n, _ := strconv.Atoi(form.Get("NextToken"))
		item, next := "", ""
		if 2*n < len(zonesAndPrices) {
			item = "<item><instanceType>t3.small</instanceType><productDescription>Linux/UNIX</productDescription><spotPrice>" + zonesAndPrices[2*n+1] +
				"</spotPrice><timestamp>" + at + "</timestamp><availabilityZone>" + zonesAndPrices[2*n] + "</availabilityZone></item>"
		}
		if 2*(n+1) < len(zonesAndPrices) {
			next = fmt.Sprintf("<nextToken>%d</nextToken>", n+1)
		}
		return "<DescribeSpotPriceHistoryResponse><spotPriceHistorySet>" + item + "</spotPriceHistorySet>" + next + "</DescribeSpotPriceHistoryResponse>"
	}
}

// User data is in base64 for both markets.
func TestBuildbotDefect07SpotUserDataIsRaw(t *testing.T) {
	t.Parallel()
	for _, spot := range []string{"False", "True"} {
		s := newSite(t)
		rec := s.record(nil)
		m := s.start("c['workers'] = [ec2('bot', spot_instance=" + spot + ")]\n" + oneBuilder)
		m.built("b")
		text, err := base64.StdEncoding.DecodeString(rec.one(t, "RunInstances").Get("UserData"))
		if err != nil || !strings.Contains(string(text), "DORMOUSE_MASTER=ws://"+m.WorkerAddr()) {
			t.Errorf("spot_instance=%s: %v, %q", spot, err, text)
		}
	}
}

// The price history is asked for by type and product, all its pages count, the
// bid is a plain decimal, and nothing is made up where there is no price.
func TestBuildbotDefect08SpotPrices(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, options string
		history       []string
		bid           string
	}{
		{"in pages", "price_multiplier=1, max_spot_price=1.0", []string{"us-east-1a", "0.010000", "us-east-1a", "0.010000", "us-east-1b", "0.050000"}, "0.03"},
		{"with many digits", "price_multiplier=1.1, max_spot_price=1.0", []string{"us-east-1a", "0.010000", "us-east-1b", "0.010000", "us-east-1c", "0.020000"}, "0.014667"},
		{"none", "price_multiplier=1.2, max_spot_price=0.7", nil, "0.7"},
		{"none, and no maximum", "price_multiplier=1.2, max_spot_price=None", nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t)
			rec := s.record(prices(tc.history...))
			m := s.start("c['workers'] = [ec2('bot', spot_instance=True, " + tc.options + ")]\n" + oneBuilder)
			m.built("b")
			for _, call := range rec.of("DescribeSpotPriceHistory") {
				if call.Get("InstanceType.1") != "t3.small" || call.Get("ProductDescription.1") != "Linux/UNIX" {
					t.Errorf("%v", call)
				}
			}
			if bid := rec.one(t, "RunInstances").Get("InstanceMarketOptions.SpotOptions.MaxPrice"); bid != tc.bid {
				t.Errorf("the bid is %q, want %q", bid, tc.bid)
			}
		})
	}
}

// Where there is no spot capacity nothing stays open, and the master can stop.
func TestBuildbotDefect09SpotRequestIsNeverCancelled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.scenario(`{"rules": [{"name": "no spot", "when": {"market": "spot"}, "do": {"capacity": 0}}]}`)
	m := s.start("c['workers'] = [ec2('bot', spot_instance=True)]\n" + oneBuilder)
	request := m.force("b", 1)[0]
	m.until("the reason being said", func() bool { return strings.Contains(m.request(request.ID).Waiting, "InsufficientInstanceCapacity") })
	open := func() int {
		out, err := s.client().DescribeSpotInstanceRequests(t.Context(), &awsec2.DescribeSpotInstanceRequestsInput{
			Filters: []types.Filter{{Name: new("state"), Values: []string{"open", "active"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.SpotInstanceRequests)
	}
	if n := open(); n != 0 {
		t.Errorf("%d spot requests are open", n)
	}
	m.stop()
	if ledger := s.endpoint.Ledger(); ledger.Started != 0 || open() != 0 {
		t.Errorf("%d instances were started, %d spot requests are open", ledger.Started, open())
	}
}

// A master with many instances, some of which build, stops in a few listings of
// all of them, and loses nothing.
func TestBuildbotDefect12StoppingTakesMinutes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	text := fmt.Sprintf("c['workers'] = [ec2('bot', instances=12, user_data=ANONYMOUS, build_wait_timeout=3600)]\nforced([builder('b', ['bot'], %q)])\n", gated(gate))
	m := s.start(text)
	made := m.force("b", 12)
	m.until("all builds running", func() bool {
		builds, err := m.Builds(t.Context(), web.BuildQuery{Running: new(true), Limit: 50})
		return err == nil && len(builds) == 12
	})
	before := s.endpoint.Ledger().Calls
	m.stop()
	ledger := s.endpoint.Ledger()
	if ledger.Alive() != 0 {
		t.Errorf("%d instances live", ledger.Alive())
	}
	// A few for all of them, and not one or more for each.
	for action, most := range map[string]int{"TerminateInstances": 9, "DescribeInstances": 11} {
		if n := ledger.Calls[action] - before[action]; n > most {
			t.Errorf("stopping took %d calls of %s", n, action)
		}
	}
	open(t, gate)
	m = s.start(text)
	for _, r := range made {
		if r := m.ended(r.ID); *r.Result != dormouse.Success {
			t.Errorf("%+v", r)
		}
	}
}

// An offering that EC2 is short of is passed over within the same build.
func TestBuildbotDefect13CapacityErrorsMakeRetries(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.scenario(`{"rules": [{"name": "no spot", "when": {"market": "spot"}, "do": {"capacity": 0}}]}`)
	m := s.start("c['workers'] = [ec2('bot', spot_instance=True, fallback_to_on_demand=True)]\n" + oneBuilder)
	_, builds := m.built("b")
	ledger := s.endpoint.Ledger()
	if len(builds) != 1 || ledger.Started != 1 || ledger.Instances[0].Market != dormouse.OnDemand {
		t.Errorf("%d builds, %d instances: %+v", len(builds), ledger.Started, ledger.Instances)
	}
}

// Everything that a launch makes has its tags from that very call.
func TestBuildbotDefect14TagsComeLater(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	rec := s.record(nil)
	m := s.start("c['workers'] = [ec2('bot', spot_instance=True, tags={'team': 'tools'})]\n" + oneBuilder)
	m.built("b")
	launch := rec.one(t, "RunInstances")
	var tagged []string
	for n := 1; launch.Has(fmt.Sprintf("TagSpecification.%d.ResourceType", n)); n++ {
		spec := fmt.Sprintf("TagSpecification.%d.", n)
		tags := map[string]string{}
		for k := 1; launch.Has(fmt.Sprintf("%sTag.%d.Key", spec, k)); k++ {
			tags[launch.Get(fmt.Sprintf("%sTag.%d.Key", spec, k))] = launch.Get(fmt.Sprintf("%sTag.%d.Value", spec, k))
		}
		if tags["team"] != "tools" || tags[dormouse.TagDeployment] != m.DeploymentID() || tags[dormouse.TagLaunch] == "" {
			t.Errorf("%s has the tags %v", launch.Get(spec+"ResourceType"), tags)
		}
		tagged = append(tagged, launch.Get(spec+"ResourceType"))
	}
	slices.Sort(tagged)
	if got := strings.Join(tagged, " "); got != "instance network-interface spot-instances-request volume" {
		t.Errorf("tagged are %s", got)
	}
	if calls := rec.of("CreateTags"); len(calls) != 0 {
		t.Errorf("tags were made later: %v", calls)
	}
}

// A launch that is sent again by another process is the same launch to EC2.
func TestBuildbotDefect15TokenIsRandom(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := workersPort(t) + "c['workers'] = [ec2('bot', build_wait_timeout=0)]\nforced([builder('b', ['bot'], 'true')])\n"
	launched := make(chan struct{})
	around := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
		if formOf(r).Get("Action") != "RunInstances" {
			call.ServeHTTP(w, r)
			return
		}
		call.ServeHTTP(httptest.NewRecorder(), r)
		close(launched)
		<-r.Context().Done() // no answer comes before the master is gone
	}
	s.around.Store(&around)
	m := s.start(text)
	request := m.force("b", 1)[0]
	<-launched
	m.crash()
	rec := s.record(nil)
	m = s.start(text)
	if r := m.ended(request.ID); *r.Result != dormouse.Success {
		t.Errorf("%+v", r)
	}
	ledger := s.endpoint.Ledger()
	if token := rec.one(t, "RunInstances").Get("ClientToken"); ledger.Started != 1 || token == "" || token != ledger.Instances[0].ClientToken {
		t.Errorf("the second process sent the token %q: %+v", token, ledger.Instances)
	}
}

// Forty instances start at once, and one listing looks after all of them.
func TestBuildbotDefect17TenAtOnceEachPolled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	m := s.start(fmt.Sprintf("c['workers'] = [ec2('bot', instances=40, user_data=ANONYMOUS)]\nforced([builder('b', ['bot'], %q)])\n", gated(gate)))
	begun := time.Now()
	made := m.force("b", 40)
	m.until("all builds running", func() bool {
		builds, err := m.Builds(t.Context(), web.BuildQuery{Running: new(true), Limit: 50})
		return err == nil && len(builds) == 40
	})
	ledger := s.endpoint.Ledger()
	// On a busy machine not all come in time for one launch. Those that start are
	// looked after every second.
	listings := 20 + int(time.Since(begun)/time.Second)
	if ledger.Started != 40 || ledger.Calls["RunInstances"] > 12 || ledger.Calls["DescribeInstances"] > listings {
		t.Errorf("%d instances by %v", ledger.Started, ledger.Calls)
	}
	open(t, gate)
	for _, r := range made {
		if r := m.ended(r.ID); *r.Result != dormouse.Success {
			t.Errorf("%+v", r)
		}
	}
}
