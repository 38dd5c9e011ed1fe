package ec2sim

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// handlerTransport reaches a handler without a socket.
func handlerTransport(h http.Handler) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result(), nil
	})
}

func TestMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start})
		id := *run(t, newClient(s), tagged(types.ResourceTypeInstance, "Name", "ci"), func(in *ec2.RunInstancesInput) {
			in.UserData = aws.String("aGVsbG8=") // "hello"
			in.MetadataOptions = &types.InstanceMetadataOptionsRequest{
				HttpTokens: types.HttpTokensStateRequired, InstanceMetadataTags: types.InstanceMetadataTagsStateEnabled,
			}
		}).Instances[0].InstanceId
		time.Sleep(defaultBootDelay)
		synctest.Wait()
		client := imds.New(imds.Options{
			Endpoint: "http://metadata.local", HTTPClient: &http.Client{Transport: handlerTransport(boot.machine(t, id).Metadata)},
			Retryer: aws.NopRetryer{},
		})
		get := func(path string) (string, error) {
			out, err := client.GetMetadata(t.Context(), &imds.GetMetadataInput{Path: path})
			if err != nil {
				return "", err
			}
			text, err := io.ReadAll(out.Content)
			return string(text), err
		}
		inst := describeOne(t, newClient(s), id)
		for path, want := range map[string]string{
			"instance-id":                 id,
			"instance-type":               "t3.micro",
			"ami-id":                      ScriptImageID,
			"placement/availability-zone": *inst.Placement.AvailabilityZone,
			"placement/region":            "us-east-1",
			"placement/":                  "availability-zone\navailability-zone-id\nregion",
			"local-ipv4":                  *inst.PrivateIpAddress,
			"public-ipv4":                 *inst.PublicIpAddress,
			"tags/instance/Name":          "ci",
			"instance-life-cycle":         "on-demand",
		} {
			if got, err := get(path); err != nil || got != want {
				t.Errorf("%s: %q, %v; want %q", path, got, err, want)
			}
		}
		for _, path := range []string{"spot/instance-action", "spot/termination-time", "events/recommendations/rebalance", "nonsense"} {
			_, err := get(path)
			var re *smithyhttp.ResponseError
			if !errors.As(err, &re) || re.HTTPStatusCode() != http.StatusNotFound {
				t.Errorf("%s: %v", path, err)
			}
		}
		data, err := client.GetUserData(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(data.Content); string(text) != "hello" {
			t.Errorf("user data %q", text)
		}
		document, err := client.GetInstanceIdentityDocument(t.Context(), nil)
		if err != nil || document.InstanceID != id || document.Region != "us-east-1" || document.PrivateIP != *inst.PrivateIpAddress {
			t.Errorf("%+v, %v", document, err)
		}
	})
}

func TestMetadataTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		s := newServer(t, Options{Boot: boot.start})
		client := newClient(s)
		metadata := func(options *types.InstanceMetadataOptionsRequest) http.Handler {
			id := *run(t, client, func(in *ec2.RunInstancesInput) { in.MetadataOptions = options }).Instances[0].InstanceId
			time.Sleep(defaultBootDelay)
			synctest.Wait()
			return boot.machine(t, id).Metadata
		}
		ask := func(h http.Handler, method, path string, headers ...string) (int, string) {
			r := httptest.NewRequest(method, path, nil)
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		const idPath, tokenPath = "/latest/meta-data/instance-id", "/latest/api/token"
		required := metadata(&types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired})
		other := metadata(nil)
		disabled := metadata(&types.InstanceMetadataOptionsRequest{HttpEndpoint: types.InstanceMetadataEndpointStateDisabled})

		_, token := ask(required, "PUT", tokenPath, tokenTTLHeader, "60")
		_, othersToken := ask(other, "PUT", tokenPath, tokenTTLHeader, "60")
		for name, tc := range map[string]struct {
			h       http.Handler
			method  string
			path    string
			headers []string
			want    int
		}{
			"token":             {required, "GET", idPath, []string{tokenHeader, token}, 200},
			"no token":          {required, "GET", idPath, nil, 401},
			"nonsense":          {required, "GET", idPath, []string{tokenHeader, "x"}, 401},
			"another's":         {required, "GET", idPath, []string{tokenHeader, othersToken}, 401},
			"version 1":         {other, "GET", idPath, nil, 200},
			"through a proxy":   {required, "PUT", tokenPath, []string{tokenTTLHeader, "60", "X-Forwarded-For", "1.2.3.4"}, 403},
			"no life":           {required, "PUT", tokenPath, nil, 400},
			"too long a life":   {required, "PUT", tokenPath, []string{tokenTTLHeader, "21601"}, 400},
			"token by GET":      {required, "GET", tokenPath, nil, 405},
			"write":             {other, "POST", idPath, nil, 405},
			"disabled":          {disabled, "GET", idPath, nil, 403},
			"tags not switched": {other, "GET", "/latest/meta-data/tags/instance/", nil, 404},
			"no user data":      {other, "GET", "/latest/user-data", nil, 404},
		} {
			if got, text := ask(tc.h, tc.method, tc.path, tc.headers...); got != tc.want {
				t.Errorf("%s: %d %s; want %d", name, got, strings.TrimSpace(text), tc.want)
			}
		}
		time.Sleep(time.Minute)
		if got, _ := ask(required, "GET", idPath, tokenHeader, token); got != 401 {
			t.Errorf("a token that has run out: %d", got)
		}
	})
}
