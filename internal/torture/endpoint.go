package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

const region = "us-east-1"

// misbehave gives the endpoint a scenario of rules, of which "" is none; without any
// it behaves.
func (r *run) misbehave(seed int, rules ...string) {
	method, scenario := http.MethodDelete, ""
	if rules = slices.DeleteFunc(rules, func(rule string) bool { return rule == "" }); len(rules) > 0 {
		method, scenario = http.MethodPost, fmt.Sprintf(`{"seed": %d, "rules": [%s]}`, seed, strings.Join(rules, ", "))
	}
	req, err := http.NewRequest(method, r.address+"/_sim/scenario", strings.NewReader(scenario))
	if err != nil {
		panic(err) // the address is the endpoint's own
	}
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		res.Body.Close()
	}
	if err != nil || res.StatusCode != http.StatusOK {
		r.tell("the endpoint did not take its scenario: %v, %v", err, scenario)
	}
}

func (r *run) ledger(ctx context.Context) (l ec2sim.Ledger, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.address+"/_sim/ledger", nil)
	if err != nil {
		return l, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return l, err
	}
	defer res.Body.Close()
	return l, json.NewDecoder(res.Body).Decode(&l)
}

// call asks the endpoint as a person would: for what a worker is to have, and
// who has it. The SDK's client of EC2 would make this program one that takes
// minutes to build.
func call(ctx context.Context, address, action string, arguments url.Values, answer any) error {
	arguments.Set("Action", action)
	arguments.Set("Version", "2016-11-15")
	body := []byte(arguments.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256(body)
	keys := aws.Credentials{AccessKeyID: ec2sim.DefaultAccessKeyID, SecretAccessKey: ec2sim.DefaultSecretAccessKey}
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(sum[:]), "ec2", region, time.Now()); err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", action, res.Status, text)
	}
	if err != nil {
		return err
	}
	return xml.Unmarshal(text, answer)
}

// createVolume makes a volume of one GiB, and returns its id.
func createVolume(ctx context.Context, address string) (string, error) {
	var made struct {
		ID string `xml:"volumeId"`
	}
	err := call(ctx, address, "CreateVolume", url.Values{"AvailabilityZone": {region + "b"}, "Size": {"1"}}, &made)
	return made.ID, err
}

// allocateAddress has the endpoint give an elastic address.
func allocateAddress(ctx context.Context, address string) (string, error) {
	var made struct {
		IP string `xml:"publicIp"`
	}
	err := call(ctx, address, "AllocateAddress", url.Values{}, &made)
	return made.IP, err
}

// belongings are what a worker has besides its instance.
type belongings struct{ volume, address string }

// acquire makes what the run's worker is to have.
func (r *run) acquire(ctx context.Context) (err error) {
	if r.plan.volume {
		if r.has.volume, err = createVolume(ctx, r.address); err != nil {
			return err
		}
	}
	if r.plan.address {
		r.has.address, err = allocateAddress(ctx, r.address)
	}
	return err
}

// holders are the instances that have the volume or the address.
func (r *run) holders(ctx context.Context) (holders []string, err error) {
	var volumes struct {
		IDs []string `xml:"volumeSet>item>attachmentSet>item>instanceId"`
	}
	var addresses struct {
		IDs []string `xml:"addressesSet>item>instanceId"`
	}
	if r.has.volume != "" {
		err = call(ctx, r.address, "DescribeVolumes", url.Values{"VolumeId.1": {r.has.volume}}, &volumes)
	}
	if r.has.address != "" && err == nil {
		err = call(ctx, r.address, "DescribeAddresses", url.Values{}, &addresses)
	}
	return append(volumes.IDs, addresses.IDs...), err
}
