package config_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// noAWS keeps what this machine knows of AWS out of a test.
func noAWS(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func open(t *testing.T, s config.Session, region string, transport http.RoundTripper) *ec2.Account {
	t.Helper()
	account, err := ec2.Open(t.Context(), ec2.Session{
		AccessKeyID: s.Identifier, SecretAccessKey: s.SecretIdentifier, SessionToken: s.SessionToken, Profile: s.Profile,
		Region: s.Region, EndpointURL: "http://ec2.test", RoleARN: s.RoleARN, ExternalID: s.ExternalID,
	}, region, ec2.Deployment{ID: "d1"}, ec2.WithHTTPClient(&http.Client{Transport: transport}), ec2.WithRateScale(0))
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func newEndpoint(t *testing.T, opts ec2sim.Options) *ec2sim.Server {
	t.Helper()
	opts.Boot = func(context.Context, ec2sim.Machine) (ec2sim.Process, error) { return idle{}, nil }
	opts.BootDelay, opts.RateScale, opts.Dir = -1, -1, t.TempDir()
	sim, err := ec2sim.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return sim
}

// idle is a machine on which nothing runs.
type idle struct{}

func (idle) Stop(context.Context) error { return nil }
func (idle) Discard() error             { return nil }

// onPaper are the ids of the page, which are too short for any endpoint, and
// what stands for them at ours.
var onPaper = map[string]string{"ami-12345": "ami-00012345"}

// desk stands in front of an endpoint: it keeps the launch as it came, knows
// the spot prices, and, where a request has an id of the page, puts the
// endpoint's in its place and signs it anew.
type desk struct {
	endpoint *ec2sim.Server
	t        *testing.T
	region   string
	price    string
	launch   sent
	history  url.Values        // the last question for spot prices
	ids      map[string]string // of the page's ids, the endpoint's
}

var credential = regexp.MustCompile(`Credential=([^/]+)/\d+/([^/]+)/ec2/`)

func (d *desk) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	switch form.Get("Action") {
	case "DescribeSpotPriceHistory":
		d.history = form
		return d.prices(r), nil
	case "RunInstances":
		signed := credential.FindStringSubmatch(r.Header.Get("Authorization"))
		if signed == nil {
			return nil, fmt.Errorf("the launch is not signed: %q", r.Header.Get("Authorization"))
		}
		params := maps.Clone(form)
		params.Del("Action")
		params.Del("Version")
		d.launch = sent{params: params, history: d.history, signedBy: signed[1], region: signed[2]}
	}
	return d.forward(r, form, body)
}

// forward asks the endpoint, with its ids for the page's.
func (d *desk) forward(r *http.Request, form url.Values, body []byte) (*http.Response, error) {
	r = r.Clone(r.Context())
	there := make(url.Values, len(form))
	for param, values := range form {
		for _, v := range values {
			there.Add(param, cmp.Or(d.id(v), v))
		}
	}
	if len(d.ids) > 0 {
		body = []byte(there.Encode())
		if err := d.sign(r, body); err != nil {
			return nil, err
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer, err := d.endpoint.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	for ours, theirs := range d.ids {
		text = bytes.ReplaceAll(text, []byte(theirs), []byte(ours))
	}
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return answer, nil
}

// sign signs a request for the endpoint.
func (d *desk) sign(r *http.Request, body []byte) error {
	sum := sha256.Sum256(body)
	r.ContentLength = int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: fromPage, SecretAccessKey: "privatekey"}, r,
		hex.EncodeToString(sum[:]), "ec2", d.region, time.Now())
}

// pageID is an id as the page writes it.
var pageID = regexp.MustCompile(`^(ami|subnet|sg)-\d{5}$`)

// id is the endpoint's id for one of the page's.
func (d *desk) id(page string) string {
	if !pageID.MatchString(page) {
		return ""
	}
	if d.ids == nil {
		d.ids = make(map[string]string)
	}
	if d.ids[page] == "" {
		d.ids[page] = d.found(page)
	}
	return d.ids[page]
}

// found finds, or makes, what an id of the page stands for.
func (d *desk) found(page string) string {
	switch kind, _, _ := strings.Cut(page, "-"); kind {
	case "subnet": // one that the endpoint starts instances in
		return d.ask("subnetId", url.Values{"Action": {"RunInstances"}, "MinCount": {"1"}, "MaxCount": {"1"}, "ImageId": {ec2sim.ScriptImageID}})
	case "sg":
		return d.ask("groupId", url.Values{"Action": {"CreateSecurityGroup"}, "GroupName": {"group " + page}, "GroupDescription": {page}})
	default:
		return onPaper[page]
	}
}

// ask calls the endpoint, and returns an element of the answer.
func (d *desk) ask(element string, form url.Values) string {
	d.t.Helper()
	form.Set("Version", "2016-11-15")
	body := []byte(form.Encode())
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, "http://ec2.test/", bytes.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := d.sign(r, body); err != nil {
		d.t.Fatal(err)
	}
	answer, err := d.endpoint.RoundTrip(r)
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	found := regexp.MustCompile("<" + element + ">([^<]+)</").FindSubmatch(text)
	if found == nil {
		d.t.Fatalf("%s: %s", form, text)
	}
	return string(found[1])
}

func (d *desk) prices(r *http.Request) *http.Response {
	at := time.Now().Add(-25 * time.Hour).UTC().Format(time.RFC3339)
	text := `<DescribeSpotPriceHistoryResponse><spotPriceHistorySet><item><instanceType>m1.large</instanceType>` +
		`<productDescription>Linux/UNIX</productDescription><spotPrice>` + d.price + `</spotPrice><timestamp>` + at + `</timestamp>` +
		`<availabilityZone>` + d.region + `b</availabilityZone></item></spotPriceHistorySet></DescribeSpotPriceHistoryResponse>`
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/xml"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}
}
