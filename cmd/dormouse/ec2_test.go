package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

func TestServeEC2(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	f := ec2Flags{listen: "127.0.0.1:0", region: "eu-west-1", maxInstances: 1, accessKeyID: "me", dir: t.TempDir(), json: true}
	t.Setenv(secretVariable, "very secret")
	go func() { ended <- serveEC2(ctx, f, false, writer, io.Discard) }()
	line := make([]byte, 4096)
	n, err := reader.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(line[:n]), "very secret") {
		t.Error("it prints the secret")
	}
	var said struct {
		Endpoint    string `json:"endpoint"`
		Region      string `json:"region"`
		AccessKeyID string `json:"access_key_id"`
		Ledger      string `json:"ledger"`
	}
	if err := json.Unmarshal(line[:n], &said); err != nil || said.Region != "eu-west-1" || said.AccessKeyID != "me" {
		t.Fatalf("%+v, %v", said, err)
	}
	res, err := http.Get(said.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var ledger ec2sim.Ledger
	if err := json.NewDecoder(res.Body).Decode(&ledger); err != nil || ledger.Region != "eu-west-1" {
		t.Errorf("%+v, %v", ledger, err)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it does not end")
	}
}

func TestEC2FlagsRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ec2Flags){
		"image":         func(f *ec2Flags) { f.images = []string{"ami-12345678"} },
		"image id":      func(f *ec2Flags) { f.images = []string{"image=true"} },
		"no instances":  func(f *ec2Flags) { f.maxInstances = 0 },
		"rate":          func(f *ec2Flags) { f.rateScale = -1 },
		"scenario":      func(f *ec2Flags) { f.scenario = empty },
		"region":        func(f *ec2Flags) { f.region = "Ireland" },
		"secret file":   func(f *ec2Flags) { f.secretFile = empty },
		"secret passed": func(f *ec2Flags) { f.passEnv = []string{secretVariable} },
		"no port":       func(f *ec2Flags) { f.listen = "127.0.0.1" },
		"any address":   func(f *ec2Flags) { f.listen = ":4566" },
		"not chosen":    func(f *ec2Flags) { f.listen = "0.0.0.0:0" },
	} {
		f := ec2Flags{listen: "127.0.0.1:0", region: "us-east-1", maxInstances: 1, accessKeyID: "me"}
		change(&f)
		if err := serveEC2(t.Context(), f, false, io.Discard, io.Discard); dormouse.CodeOf(err) != dormouse.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEC2AddressChosen(t *testing.T) {
	var warning strings.Builder
	if err := checkEC2Address("0.0.0.0:4566", true, &warning); err != nil || !strings.Contains(warning.String(), "other machines") {
		t.Errorf("%v, %q", err, warning.String())
	}
	for _, listen := range []string{"localhost:0", "127.0.0.2:80", "[::1]:0"} {
		if err := checkEC2Address(listen, false, io.Discard); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}
