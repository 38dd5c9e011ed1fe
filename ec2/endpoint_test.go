package ec2

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dormouse-ci/dormouse"
)

// endpoint answers EC2's Query API in EC2's XML, without a socket, so that it
// works inside a synctest bubble.
type endpoint struct {
	mu       sync.Mutex
	requests []url.Values
	// answer gets each request and returns the answer's inner XML, or an
	// apiError, or any other error for a connection that breaks.
	answer func(form url.Values) (string, error)
}

type apiError struct {
	status        int
	code, message string
}

func (e apiError) Error() string { return e.code }

func refuse(code, message string) (string, error) { return "", apiError{400, code, message} }

func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	_, target, isJSON := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if isJSON { // the Price List's protocol
		form = url.Values{"Action": {target}, "Body": {string(body)}}
	}
	e.mu.Lock()
	e.requests = append(e.requests, form)
	e.mu.Unlock()
	inner, err := e.answer(form)
	status := http.StatusOK
	text := fmt.Sprintf("<%sResponse>%s</%[1]sResponse>", form.Get("Action"), inner)
	if isJSON {
		text = inner
	}
	if api, ok := errors.AsType[apiError](err); ok {
		status = api.status
		var message strings.Builder
		if err := xml.EscapeText(&message, []byte(api.message)); err != nil {
			return nil, err
		}
		text = fmt.Sprintf("<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>r-1</RequestID></Response>",
			api.code, message.String())
		switch action := form.Get("Action"); {
		case action == "AssumeRole" || action == "GetCallerIdentity": // STS's form
			text = fmt.Sprintf("<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", api.code, message.String())
		case api.code == "":
			text = api.message
		case isJSON:
			text = fmt.Sprintf(`{"__type": %q, "message": %q}`, api.code, api.message)
		}
	} else if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"text/xml"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}, nil
}

// sent returns the requests of an action so far, all for "".
func (e *endpoint) sent(action string) []url.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []url.Values
	for _, r := range e.requests {
		if action == "" || r.Get("Action") == action {
			out = append(out, r)
		}
	}
	return out
}

// actions lists what was called, in order.
func (e *endpoint) actions() []string {
	var out []string
	for _, r := range e.sent("") {
		out = append(out, r.Get("Action"))
	}
	return out
}

const testSecret = "wJalrXUtnFEMI/K7MDENG/secret"

func noEnvironment(t testing.TB) {
	t.Helper()
	for _, name := range []string{
		"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_EC2", "AWS_NEW_RETRIES_2026",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent/config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func openAccount(t testing.TB, rt http.RoundTripper, opts ...Option) *Account {
	t.Helper()
	return openIn(t, rt, "us-east-1", opts...)
}

func openIn(t testing.TB, rt http.RoundTripper, region string, opts ...Option) *Account {
	t.Helper()
	opts = append([]Option{WithHTTPClient(&http.Client{Transport: rt})}, opts...)
	a, err := Open(t.Context(), Session{
		AccessKeyID: "AKIATEST", SecretAccessKey: testSecret, EndpointURL: "http://ec2.test",
	}, region, Deployment{ID: "d1"}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func wantCode(t *testing.T, err error, code dormouse.Code, texts ...string) {
	t.Helper()
	if dormouse.CodeOf(err) != code {
		t.Errorf("error is %q: %v; want code %q", dormouse.CodeOf(err), err, code)
		return
	}
	if err == nil {
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
	if strings.Contains(err.Error(), testSecret) {
		t.Errorf("error tells the secret: %v", err)
	}
}

// listed returns the values of a numbered parameter, in order.
func listed(form url.Values, name string) []string {
	type numbered struct {
		n int
		v string
	}
	var all []numbered
	for key := range form {
		var n int
		if _, err := fmt.Sscanf(key, name+".%d", &n); err == nil && key == fmt.Sprintf("%s.%d", name, n) {
			all = append(all, numbered{n, form.Get(key)})
		}
	}
	slices.SortFunc(all, func(a, b numbered) int { return cmp.Compare(a.n, b.n) })
	out := make([]string, len(all))
	for i := range all {
		out[i] = all[i].v
	}
	return out
}

func imageXML(id, location, state, root string) string {
	return fmt.Sprintf("<item><imageId>%s</imageId><imageLocation>%s</imageLocation><imageState>%s</imageState><rootDeviceType>%s</rootDeviceType></item>",
		id, location, state, root)
}

func instanceXML(id, state, deployment string) string {
	return fmt.Sprintf("<item><instanceId>%s</instanceId><instanceState><code>0</code><name>%s</name></instanceState>"+
		"<instanceType>m5.large</instanceType><imageId>ami-1</imageId><placement><availabilityZone>us-east-1a</availabilityZone></placement>"+
		"<privateIpAddress>10.0.0.1</privateIpAddress><launchTime>2026-01-02T03:04:05.000Z</launchTime>"+
		"<tagSet><item><key>dormouse:deployment</key><value>%s</value></item></tagSet></item>", id, state, deployment)
}

const emptyImageSet = "<imagesSet/>"

func oneImage(id string) string {
	return "<imagesSet>" + imageXML(id, "123/"+id, "available", "ebs") + "</imagesSet>"
}

// hangs is a connection over which no answer ever comes.
type hangs struct{}

func (hangs) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}
