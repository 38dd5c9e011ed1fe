package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testLaunch(t testing.TB, count int) []byte {
	t.Helper()
	b, err := (&rendered{
		Version: renderedVersion, Region: "us-east-1", ImageID: "ami-1", InstanceType: "m5.large",
		Count: count, KeyName: "k", Tags: map[string]string{TagDeployment: "d1"}, UserData: []byte("sesame"),
	}).encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	errReset = &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	errDial  = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
)

// TestLaunchAnswers plays EC2's answers to one launch, attempt by attempt (the
// last one repeats), and holds what the caller is told.
func TestLaunchAnswers(t *testing.T) {
	capacity := apiError{500, "InsufficientInstanceCapacity", "We have none."}
	limit := apiError{503, "RequestLimitExceeded", "Request limit exceeded."}
	auth := apiError{401, "AuthFailure", "AWS was not able to validate the provided access credentials"}
	tests := []struct {
		name    string
		answers []error // nil is success
		code    dormouse.Code
		remote  string
		settled bool
		sent    int
		says    string
	}{
		{name: "accepted", answers: []error{nil}, sent: 1},
		{name: "throttled, then accepted", answers: []error{limit, nil}, sent: 2},
		{name: "throttled for long", answers: []error{limit}, code: dormouse.Throttled, remote: "RequestLimitExceeded", sent: 3},
		{name: "answer lost, found by the token", answers: []error{errReset, nil}, sent: 2},
		{name: "answers lost", answers: []error{errReset}, code: dormouse.Unanswered, sent: 3, says: "connection reset"},
		{name: "lost, then throttled", answers: []error{errReset, limit}, code: dormouse.Unanswered, remote: "RequestLimitExceeded", sent: 3, says: "may have been carried out"},
		{name: "lost, then nobody there", answers: []error{errReset, errDial}, code: dormouse.Unanswered, sent: 3},
		{name: "lost, then not allowed", answers: []error{errReset, auth}, code: dormouse.Unanswered, remote: "AuthFailure", sent: 2},
		{name: "lost, then refused for good", answers: []error{errReset, capacity}, code: dormouse.Capacity, remote: "InsufficientInstanceCapacity", settled: true, sent: 2},
		{name: "nobody there", answers: []error{errDial}, code: dormouse.Unavailable, sent: 3, says: "connection refused"},
		{name: "no such host", answers: []error{&net.DNSError{Err: "no such host", Name: "ec2.test"}}, code: dormouse.Unavailable, sent: 3, says: "no such host"},
		{name: "server error of EC2's", answers: []error{apiError{500, "InternalError", "oops"}}, code: dormouse.Unanswered, remote: "InternalError", sent: 3},
		{name: "overloaded", answers: []error{apiError{503, "Unavailable", "busy"}}, code: dormouse.Unanswered, remote: "Unavailable", sent: 3},
		{name: "gateway", answers: []error{apiError{502, "", "<html>bad gateway</html>"}}, code: dormouse.Unanswered, sent: 3, says: "502"},
		{name: "not EC2", answers: []error{apiError{404, "", "404 page not found"}}, code: dormouse.Configuration, sent: 1, says: "endpoint_url"},
		{name: "no capacity", answers: []error{capacity}, code: dormouse.Capacity, remote: "InsufficientInstanceCapacity", settled: true, sent: 1, says: "We have none"},
		{name: "spot too dear", answers: []error{apiError{400, "SpotMaxPriceTooLow", "Your Spot request price of 0.01 is lower than the minimum"}}, code: dormouse.Capacity, remote: "SpotMaxPriceTooLow", settled: true, sent: 1, says: "max_spot_price"},
		{name: "vCPU limit", answers: []error{apiError{400, "VcpuLimitExceeded", "You have requested more vCPU capacity"}}, code: dormouse.Quota, remote: "VcpuLimitExceeded", settled: true, sent: 1, says: "Service Quotas"},
		{name: "a limit that is not in the table", answers: []error{apiError{400, "FleetLimitExceeded", "x"}}, code: dormouse.Quota, remote: "FleetLimitExceeded", settled: true, sent: 1},
		{name: "no default VPC", answers: []error{apiError{400, "VPCIdNotSpecified", "No default VPC for this user."}}, code: dormouse.Configuration, remote: "VPCIdNotSpecified", settled: true, sent: 1, says: "subnet_id"},
		{name: "not allowed", answers: []error{apiError{403, "UnauthorizedOperation", "You are not authorized. Encoded authorization failure message: abc"}}, code: dormouse.Configuration, remote: "UnauthorizedOperation", sent: 1, says: "decode-authorization-message"},
		{name: "bad keys", answers: []error{auth}, code: dormouse.Configuration, remote: "AuthFailure", sent: 1, says: "secret_identifier"},
		{name: "clock", answers: []error{apiError{400, "RequestExpired", "Request has expired."}}, code: dormouse.Configuration, remote: "RequestExpired", sent: 1, says: "clock"},
		{name: "unknown invalid", answers: []error{apiError{400, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-1' does not exist"}}, code: dormouse.Configuration, remote: "InvalidSubnetID.NotFound", settled: true, sent: 1, says: "subnet-1"},
		{name: "a client error nobody has met", answers: []error{apiError{400, "WeatherTooBad", "x"}}, code: dormouse.Configuration, remote: "WeatherTooBad", settled: true, sent: 1},
		{name: "a server error nobody has met", answers: []error{apiError{500, "WeatherTooBad", "x"}}, code: dormouse.Unanswered, remote: "WeatherTooBad", sent: 3},
		{name: "changed parameters", answers: []error{apiError{400, "IdempotentParameterMismatch", "x"}}, code: dormouse.Conflict, remote: "IdempotentParameterMismatch", sent: 1},
		{name: "success that cannot be read", answers: []error{apiError{200, "", "<RunInstancesResponse><instancesSet>"}}, code: dormouse.Unanswered, sent: 1},
		{name: "success without an instance", answers: []error{apiError{200, "", "<RunInstancesResponse></RunInstancesResponse>"}}, code: dormouse.Unanswered, sent: 1},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				e := &endpoint{answer: func(url.Values) (string, error) {
					answer := tt.answers[min(n, len(tt.answers)-1)]
					n++
					return "<instancesSet>" + instanceXML("i-1", "pending", "d1") + "</instancesSet>", answer
				}}
				var counted int
				a := openAccount(t, e, WithCallCounter(func(string) { counted++ }))
				instances, err := a.Launch(t.Context(), testLaunch(t, 2), "token-1")
				wantCode(t, err, tt.code, tt.says)
				if remoteOf(err) != tt.remote || Settled(err) != tt.settled {
					t.Errorf("remote %q, settled %v; want %q, %v", remoteOf(err), Settled(err), tt.remote, tt.settled)
				}
				if err == nil && (len(instances) != 1 || instances[0].ID != "i-1") {
					t.Errorf("instances: %v", instances)
				}
				if err != nil && tt.sent > 0 && !strings.Contains(err.Error(), "RunInstances in us-east-1") {
					t.Errorf("%q does not name operation and region", err)
				}
				if err != nil && strings.Contains(err.Error(), "sesame") {
					t.Errorf("user data in %q", err)
				}
				sent := e.sent("RunInstances")
				if len(sent) != tt.sent || counted != tt.sent {
					t.Errorf("sent %d times and counted %d, want %d", len(sent), counted, tt.sent)
				}
				for _, form := range sent {
					if diff := cmp.Diff(sent[0], form); diff != "" || form.Get("ClientToken") != "token-1" {
						t.Errorf("repeated with other parameters:\n%s", diff)
					}
				}
			})
		})
	}
}

func TestLaunchHangs(t *testing.T) {
	noEnvironment(t)
	synctest.Test(t, func(t *testing.T) {
		a := openAccount(t, hangs{})
		start := time.Now()
		_, err := a.Launch(t.Context(), testLaunch(t, 1), "t")
		wantCode(t, err, dormouse.Unanswered)
		if took := time.Since(start); took < attemptTimeout || took > attempts*attemptTimeout+time.Minute {
			t.Errorf("it took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = a.Launch(ctx, testLaunch(t, 1), "t")
		wantCode(t, err, dormouse.Unanswered)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v does not wrap the context's error", err)
		}
		_, err = a.List(ctx)
		wantCode(t, err, dormouse.Unavailable)
	})
}

// TestNeverConnected meets the errors of real sockets.
func TestNeverConnected(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	get := func() error {
		answer, err := client.Get(server.URL)
		if err == nil {
			answer.Body.Close()
		}
		return err
	}
	if err := get(); err == nil || neverConnected(err) || !leavesOpen(err) {
		t.Errorf("a connection that broke after the request: %v is taken for one that never was", err)
	}
	server.Close()
	if err := get(); err == nil || !neverConnected(err) || leavesOpen(err) {
		t.Errorf("a refused connection: %v is taken for one that carried something", err)
	}
}

func TestLaunchRefusesWithoutSending(t *testing.T) {
	noEnvironment(t)
	e := &endpoint{}
	a := openAccount(t, e)
	for _, tt := range []struct{ launch, token string }{
		{"{}", "t"},
		{string(testLaunch(t, 1)), ""},
		{strings.Replace(string(testLaunch(t, 1)), "us-east-1", "eu-west-1", 1), "t"},
	} {
		_, err := a.Launch(t.Context(), []byte(tt.launch), tt.token)
		wantCode(t, err, dormouse.Internal)
	}
	if len(e.actions()) > 0 {
		t.Errorf("sent %v", e.actions())
	}
}

func TestList(t *testing.T) {
	noEnvironment(t)
	e := &endpoint{}
	e.answer = func(form url.Values) (string, error) {
		page, _ := strconv.Atoi(form.Get("NextToken"))
		next := ""
		if page < 2 {
			next = fmt.Sprintf("<nextToken>%d</nextToken>", page+1)
		}
		return "<reservationSet><item><instancesSet>" + instanceXML(fmt.Sprintf("i-%d", page), "running", "d1") +
			instanceXML("i-stranger", "running", "d2") + "</instancesSet></item></reservationSet>" + next, nil
	}
	instances, err := openAccount(t, e).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := dormouse.CloudInstance{
		ID: "i-0", State: dormouse.InstanceRunning, InstanceType: "m5.large", Zone: "us-east-1a", Market: dormouse.OnDemand,
		ImageID: "ami-1", PrivateIP: "10.0.0.1", LaunchTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Tags: map[string]string{TagDeployment: "d1"},
	}
	if len(instances) != 3 || instances[2].ID != "i-2" {
		t.Fatalf("instances: %v", instances)
	}
	if diff := cmp.Diff(want, instances[0]); diff != "" {
		t.Errorf("instance (-want +got):\n%s", diff)
	}
	first := e.sent("DescribeInstances")[0]
	if first.Get("Filter.1.Name") != "tag:dormouse:deployment" || first.Get("Filter.1.Value.1") != "d1" || first.Get("MaxResults") != "1000" {
		t.Errorf("request: %v", first)
	}
}

func TestImagesAreListedOnce(t *testing.T) {
	noEnvironment(t)
	synctest.Test(t, func(t *testing.T) {
		newest := 2
		e := &endpoint{}
		e.answer = func(form url.Values) (string, error) {
			if form.Get("Action") == "RunInstances" {
				return refuse("InvalidAMIID.NotFound", "The image id '[ami-2]' does not exist")
			}
			time.Sleep(time.Second) // in the bubble's time: all callers are there
			if form.Get("NextToken") == "" {
				return "<imagesSet>" + imageXML("ami-1", "me/bot-1", "available", "ebs") + "</imagesSet><nextToken>2</nextToken>", nil
			}
			return "<imagesSet>" + imageXML(fmt.Sprintf("ami-%d", newest), fmt.Sprintf("me/bot-%d", newest), "available", "ebs") + "</imagesSet>", nil
		}
		a := openAccount(t, e)
		spec := LaunchSpec{InstanceTypes: []string{"m"}, ValidAMIOwners: []string{"123", "self"}, ValidAMILocationRegex: `me/bot-(\d+)`}
		choose := func(want string) {
			t.Helper()
			image, err := a.chooseImage(t.Context(), spec)
			if err != nil || image.ID != want {
				t.Errorf("chose %v, %v; want %s", image, err, want)
			}
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { choose("ami-2") })
		}
		wg.Wait()
		if n := len(e.sent("DescribeImages")); n != 2 {
			t.Errorf("%d calls for 20 starts, want one per page", n)
		}
		if diff := cmp.Diff([]string{"000000000123", "self"}, listed(e.sent("DescribeImages")[0], "Owner")); diff != "" {
			t.Error(diff)
		}
		newest = 3
		time.Sleep(30 * time.Second)
		choose("ami-2")
		launch := strings.Replace(string(testLaunch(t, 1)), "ami-1", "ami-2", 1)
		_, err := a.Launch(t.Context(), []byte(launch), "t")
		wantCode(t, err, dormouse.Configuration)
		choose("ami-3") // the refusal made the listing stale
		newest = 4
		time.Sleep(imagesFresh)
		choose("ami-4")
	})
}

// TestImageQueries: what EC2 is asked for a choice of images, and that equal
// wishes share a listing.
func TestImageQueries(t *testing.T) {
	noEnvironment(t)
	e := &endpoint{answer: func(url.Values) (string, error) {
		return "<imagesSet>" + imageXML("ami-9", "1/bot-9", "available", "ebs") + imageXML("ami-10", "1/bot-10", "available", "ebs") + "</imagesSet>", nil
	}}
	a := openAccount(t, e)
	choose := func(spec LaunchSpec, want string) {
		t.Helper()
		if image, err := a.chooseImage(t.Context(), spec); err != nil || image.ID != want {
			t.Errorf("chose %v, %v; want %s", image, err, want)
		}
	}
	filters := map[string][]string{"tag:Role": {"ci", "build", "ci"}, "architecture": {"arm64"}}
	choose(LaunchSpec{AMIFilters: filters, ValidAMIOwners: []string{"1"}, ValidAMILocationRegex: `1/bot-(\d+)`}, "ami-10")
	choose(LaunchSpec{AMIFilters: map[string][]string{"architecture": {"arm64"}, "tag:Role": {"build", "ci"}}, ValidAMIOwners: []string{"000000000001"}}, "ami-9")
	if n := len(e.actions()); n != 1 {
		t.Fatalf("%d listings for one query", n)
	}
	form := e.sent("DescribeImages")[0]
	got := []string{form.Get("Owner.1"), form.Get("Filter.1.Name"), form.Get("Filter.1.Value.1"), form.Get("Filter.2.Name"), form.Get("Filter.2.Value.1"), form.Get("Filter.2.Value.2"), form.Get("Filter.2.Value.3")}
	if diff := cmp.Diff([]string{"000000000001", "architecture", "arm64", "tag:Role", "build", "ci", ""}, got); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	choose(LaunchSpec{AMIFilters: filters}, "ami-9")
	choose(LaunchSpec{ValidAMIOwners: []string{"1"}}, "ami-9")
	if n := len(e.actions()); n != 3 {
		t.Errorf("%d listings for three queries", n)
	}
	choose(LaunchSpec{AMISSMParameter: "/ci/image:3"}, "resolve:ssm:/ci/image:3")
	_, err := a.chooseImage(t.Context(), LaunchSpec{AMIFilters: filters, ValidAMILocationRegex: "nothing"})
	wantCode(t, err, dormouse.Configuration, `valid_ami_location_regex "nothing" and ami_filters map[architecture:[arm64] tag:Role:[ci build ci]] (2 images looked at)`)
}

func TestPinnedImage(t *testing.T) {
	noEnvironment(t)
	state := "pending"
	e := &endpoint{answer: func(form url.Values) (string, error) {
		switch form.Get("ImageId.1") {
		case "ami-ok":
			return oneImage("ami-ok"), nil
		case "ami-young":
			return "<imagesSet>" + imageXML("ami-young", "x", state, "ebs") + "</imagesSet>", nil
		case "ami-empty":
			return emptyImageSet, nil
		}
		return refuse("InvalidAMIID.NotFound", "The image id '[ami-123]' does not exist")
	}}
	a := openAccount(t, e)
	for _, id := range []string{"ami-123", "ami-empty"} {
		_, err := a.chooseImage(t.Context(), LaunchSpec{AMI: id})
		wantCode(t, err, dormouse.Configuration, "AMI "+id+" does not exist in us-east-1 for this account")
	}
	_, err := a.chooseImage(t.Context(), LaunchSpec{AMI: "ami-young"})
	wantCode(t, err, dormouse.Configuration, "pending")
	state = "available"
	if _, err := a.chooseImage(t.Context(), LaunchSpec{AMI: "ami-young"}); err != nil {
		t.Error(err)
	}
	before := len(e.actions())
	for range 3 {
		if _, err := a.chooseImage(t.Context(), LaunchSpec{AMI: "ami-ok"}); err != nil {
			t.Error(err)
		}
	}
	if n := len(e.actions()) - before; n != 1 {
		t.Errorf("asked %d times of a pinned image", n)
	}
}

func TestKeypairAndGroup(t *testing.T) {
	tests := []struct {
		name    string
		answers map[string][]error // by action, in turn; the last repeats
		code    dormouse.Code
		actions []string
		cached  bool
	}{
		{name: "both exist", actions: []string{"DescribeKeyPairs", "DescribeSecurityGroups"}, cached: true},
		{
			name: "neither exists", cached: true,
			answers: map[string][]error{"DescribeKeyPairs": {apiError{400, "InvalidKeyPair.NotFound", "x"}}, "DescribeSecurityGroups": {apiError{400, "InvalidGroup.NotFound", "x"}}},
			actions: []string{"DescribeKeyPairs", "CreateKeyPair", "DescribeSecurityGroups", "CreateSecurityGroup"},
		},
		{
			name: "another was first", cached: true,
			answers: map[string][]error{
				"DescribeKeyPairs": {apiError{400, "InvalidKeyPair.NotFound", "x"}}, "CreateKeyPair": {apiError{400, "InvalidKeyPair.Duplicate", "x"}},
				"DescribeSecurityGroups": {apiError{400, "InvalidGroup.NotFound", "x"}, nil}, "CreateSecurityGroup": {apiError{400, "InvalidGroup.Duplicate", "x"}},
			},
			actions: []string{"DescribeKeyPairs", "CreateKeyPair", "DescribeSecurityGroups", "CreateSecurityGroup", "DescribeSecurityGroups"},
		},
		{
			name: "no default VPC", code: dormouse.Configuration,
			answers: map[string][]error{"DescribeSecurityGroups": {apiError{400, "VPCIdNotSpecified", "x"}}},
			actions: []string{"DescribeKeyPairs", "DescribeSecurityGroups"},
		},
		{
			name: "may not make one", code: dormouse.Configuration,
			answers: map[string][]error{"DescribeKeyPairs": {apiError{400, "InvalidKeyPair.NotFound", "x"}}, "CreateKeyPair": {apiError{403, "UnauthorizedOperation", "x"}}},
			actions: []string{"DescribeKeyPairs", "CreateKeyPair"},
		},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := map[string]int{}
			e := &endpoint{answer: func(form url.Values) (string, error) {
				action := form.Get("Action")
				body := map[string]string{
					"DescribeImages":         oneImage("ami-1"),
					"DescribeSecurityGroups": "<securityGroupInfo><item><groupId>sg-1</groupId></item></securityGroupInfo>",
					"CreateSecurityGroup":    "<groupId>sg-1</groupId>",
				}[action]
				answers := tt.answers[action]
				if len(answers) == 0 {
					return body, nil
				}
				i := min(n[action], len(answers)-1)
				n[action]++
				return body, answers[i]
			}}
			a := openAccount(t, e)
			spec := LaunchSpec{InstanceTypes: []string{"m"}, AMI: "ami-1", KeypairName: "bbkey", SecurityName: "bbsec", SecurityGroupIDs: []string{"sg-2"}}
			launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
			wantCode(t, err, tt.code)
			if diff := cmp.Diff(append([]string{"DescribeImages"}, tt.actions...), e.actions()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if err != nil {
				return
			}
			if r, err := decodeRendered(launch); err != nil || !slices.Equal(r.SecurityGroupIDs, []string{"sg-1", "sg-2"}) {
				t.Errorf("rendered %+v, %v", r, err)
			}
			before := len(e.actions())
			if _, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil); err != nil || len(e.actions()) != before {
				t.Errorf("asked again: %v, %v", e.actions()[before:], err)
			}
		})
	}
}

// TestLaunchForgets: what EC2 says is gone is looked for again at the next
// rendering.
func TestLaunchForgets(t *testing.T) {
	noEnvironment(t)
	for code, again := range map[string]string{
		"InvalidKeyPair.NotFound": "DescribeKeyPairs",
		"InvalidGroup.NotFound":   "DescribeSecurityGroups",
		"InvalidAMIID.NotFound":   "DescribeImages",
	} {
		e := &endpoint{answer: func(form url.Values) (string, error) {
			switch form.Get("Action") {
			case "RunInstances":
				return refuse(code, "x")
			case "DescribeImages":
				return oneImage("ami-1"), nil
			default:
				return "<securityGroupInfo><item><groupId>sg-1</groupId></item></securityGroupInfo>", nil
			}
		}}
		a := openAccount(t, e)
		spec := LaunchSpec{InstanceTypes: []string{"m"}, AMI: "ami-1", KeypairName: "k", SecurityName: "s"}
		for range 2 {
			launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], 1, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Launch(t.Context(), launch, "t")
			wantCode(t, err, dormouse.Configuration, code)
		}
		want := []string{"DescribeImages", "DescribeKeyPairs", "DescribeSecurityGroups", "RunInstances", again, "RunInstances"}
		if diff := cmp.Diff(want, e.actions()); diff != "" {
			t.Errorf("%s: calls (-want +got):\n%s", code, diff)
		}
	}
}

func TestConsole(t *testing.T) {
	output := func(s string) string {
		return "<output>" + base64.StdEncoding.EncodeToString([]byte(s)) + "</output>"
	}
	tests := []struct {
		name          string
		latest, plain string
		latestErr     error
		want          string
		code          dormouse.Code
	}{
		{name: "latest", latest: output("boot\n"), plain: output("old"), want: "boot\n"},
		{name: "latest is empty", plain: output("old"), want: "old"},
		{name: "latest is not for this type", latestErr: apiError{400, "UnsupportedOperation", "x"}, plain: output("old"), want: "old"},
		{name: "none at all"},
		{name: "unknown instance", latestErr: apiError{400, "InvalidInstanceID.NotFound", "x"}, code: dormouse.NotFound},
		{name: "not text", latest: output("a\xffb"), want: "a\uFFFDb"},
		{name: "not base64", latest: "<output>!</output>", code: dormouse.Internal},
	}
	noEnvironment(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &endpoint{answer: func(form url.Values) (string, error) {
				if form.Get("Latest") == "true" {
					return tt.latest, tt.latestErr
				}
				return tt.plain, nil
			}}
			got, err := openAccount(t, e).Console(t.Context(), "i-1")
			wantCode(t, err, tt.code)
			if got != tt.want {
				t.Errorf("console is %q, want %q", got, tt.want)
			}
		})
	}
}
