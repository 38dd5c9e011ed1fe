package machine

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

func TestParseUserData(t *testing.T) {
	known := []string{"DORMOUSE_MASTER", "DORMOUSE_WORKER_NAME", "DORMOUSE_WORKER_PASSWORD"}
	for _, tt := range []struct {
		name, text string
		want       map[string]string
		err        []string
	}{
		{name: "empty", want: map[string]string{}},
		{
			name: "settings",
			text: "# agent\n\nDORMOUSE_MASTER=ci:9989\r\n  DORMOUSE_WORKER_NAME = w1 \nDORMOUSE_WORKER_PASSWORD=a=b\"c#d",
			want: map[string]string{"DORMOUSE_MASTER": "ci:9989", "DORMOUSE_WORKER_NAME": "w1", "DORMOUSE_WORKER_PASSWORD": `a=b"c#d`},
		},
		{name: "empty value", text: "DORMOUSE_MASTER=", want: map[string]string{"DORMOUSE_MASTER": ""}},
		{
			name: "all mistakes at once",
			text: "DORMOUSE_MASTER=x\nDORMOUSE_MASTRE=hunter2\n\nhunter2\nDORMOUSE_MASTER=hunter2\n",
			err:  []string{`line 2: unknown key "DORMOUSE_MASTRE"`, "line 4 is not KEY=VALUE", "line 5: DORMOUSE_MASTER is set a second time", "known keys: DORMOUSE_MASTER, "},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseUserData(tt.text, known)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (tt.err != nil) {
				t.Fatal(err)
			}
			for _, want := range tt.err {
				if !strings.Contains(err.Error(), want) || dormouse.CodeOf(err) != dormouse.Invalid {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats a value: %v", err)
			}
		})
	}
}

func FuzzParseUserData(f *testing.F) {
	f.Add("A=1\n# x\n\nB = 2\n")
	f.Add("A=1\nA=2\nx")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := ParseUserData(text, []string{"A", "B"})
		if (values == nil) != (err != nil) {
			t.Fatalf("%v, %v", values, err)
		}
		for k, v := range values {
			if k != "A" && k != "B" || strings.ContainsRune(v, '\n') || strings.TrimSpace(v) != v {
				t.Errorf("%q=%q", k, v)
			}
		}
	})
}

// imdsServer starts an instance metadata service, version 2, and makes it ours.
func imdsServer(t *testing.T, userData string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /latest/api/token", func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		rw.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = rw.Write([]byte("token"))
	})
	serve := func(path, text string) {
		mux.HandleFunc("GET "+path, func(rw http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token":
				rw.WriteHeader(http.StatusUnauthorized)
			case text == "":
				rw.WriteHeader(http.StatusNotFound)
			default:
				_, _ = rw.Write([]byte(text))
			}
		})
	}
	serve("/latest/meta-data/instance-id", "i-0123456789abcdef0\n")
	serve("/latest/user-data", userData)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
}

func TestReadMetadata(t *testing.T) {
	imdsServer(t, "A=1\n")
	got, err := ReadMetadata(t.Context())
	want := Metadata{InstanceID: "i-0123456789abcdef0", UserData: "A=1\n"}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}

	imdsServer(t, "")
	if _, err := ReadMetadata(t.Context()); dormouse.CodeOf(err) != dormouse.NotFound {
		t.Errorf("without user data: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadMetadata(ctx); dormouse.CodeOf(err) != dormouse.Unavailable {
		t.Errorf("out of time: %v", err)
	}
}
