package ec2sim

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// sign signs a request as a client with the default credentials would.
func sign(r *http.Request, body string) {
	date := time.Now().UTC().Format(sigTime)
	r.Header.Set("X-Amz-Date", date)
	sig := signature{date: date[:8], region: defaultRegion, service: serviceEC2, signedHeaders: []string{"host", "x-amz-date"}}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	value := sig.expected(DefaultSecretAccessKey, date, canonicalRequest(r, []byte(body), sig.signedHeaders))
	r.Header.Set("Authorization", sigAlgorithm+" Credential="+DefaultAccessKeyID+"/"+sig.date+"/"+sig.region+"/ec2/aws4_request, "+
		"SignedHeaders=host;x-amz-date, Signature="+hex.EncodeToString(value))
}

func send(t *testing.T, s *Server, r *http.Request) (int, string) {
	t.Helper()
	res, err := s.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestSimAPI(t *testing.T) {
	s := newServer(t, Options{BootDelay: time.Hour})
	client := newClient(s)
	run(t, client, func(in *ec2.RunInstancesInput) { in.UserData = aws.String("c2VjcmV0") }) // "secret"
	get := func(path, remote, host string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr, r.Host = remote, host
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	status, text := get("/_sim/ledger", "127.0.0.1:5", "127.0.0.1:99")
	var l Ledger
	if err := json.Unmarshal([]byte(text), &l); err != nil || status != http.StatusOK || l.Started != 1 || l.Living != 1 {
		t.Errorf("%d %v %s", status, err, text)
	}
	if strings.Contains(text, "secret") || strings.Contains(text, "c2VjcmV0") || strings.Contains(text, DefaultSecretAccessKey) {
		t.Errorf("the ledger tells a secret: %s", text)
	}
	if status, text := get("/_sim/calls", "[::1]:5", "localhost"); status != http.StatusOK || !strings.Contains(text, `"RunInstances": 1`) {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := get("/_sim/healthz", "127.0.0.1:5", "localhost:1"); status != http.StatusOK {
		t.Error(status)
	}
	for _, path := range []string{"/_sim/ledger", "/_sim/calls", "/_sim/healthz", "/_sim/other"} {
		if status, _ := get(path, "192.0.2.1:5", "127.0.0.1"); status != http.StatusForbidden {
			t.Errorf("%s for another machine: %d", path, status)
		}
		if status, _ := get(path, "127.0.0.1:5", "evil.example"); status != http.StatusForbidden {
			t.Errorf("%s by another name: %d", path, status)
		}
	}
	if status, _ := get("/_sim/other", "127.0.0.1:5", "localhost"); status != http.StatusNotFound {
		t.Error(status)
	}
}

func TestOverLoopback(t *testing.T) {
	s := newServer(t, Options{BootDelay: time.Hour})
	server := httptest.NewServer(s)
	defer server.Close()
	client := newClient(s, func(o *ec2.Options) {
		o.BaseEndpoint, o.HTTPClient = aws.String(server.URL), server.Client()
	})
	id := *run(t, client).Instances[0].InstanceId
	if inst := describeOne(t, client, id); inst.State.Name != types.InstanceStateNamePending {
		t.Errorf("it is %s", inst.State.Name)
	}
	_, err := client.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{"i-12345678"}})
	wantCode(t, err, "InvalidInstanceID.NotFound")
}
