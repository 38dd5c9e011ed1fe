package ec2sim

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"
)

// endpointVariable makes this program an endpoint with one machine, in the
// directory that it names, which prints its id and waits to be killed.
const endpointVariable = "EC2SIM_TEST_ENDPOINT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(endpointVariable); dir != "" {
		serveUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

func serveUntilKilled(dir string) {
	s, err := New(Options{Dir: dir, BootDelay: -1})
	if err != nil {
		panic(err)
	}
	out, err := newClient(s).RunInstances(context.Background(), launchInput(func(in *ec2.RunInstancesInput) {
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\nexec sleep 1000\n")))
	}))
	if err != nil {
		panic(err)
	}
	fmt.Println(*out.Instances[0].InstanceId)
	select {}
}

// fakeBoot boots machines without processes, for tests of everything else.
type fakeBoot struct {
	mu       sync.Mutex
	machines map[string]*fakeMachine
	fail     error
	stopping time.Duration // how long a machine takes to stop
}

type fakeMachine struct {
	Machine
	boot      *fakeBoot
	stopped   bool
	discarded bool
}

func (b *fakeBoot) start(_ context.Context, m Machine) (Process, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	fm := &fakeMachine{Machine: m, boot: b}
	if b.machines == nil {
		b.machines = make(map[string]*fakeMachine)
	}
	b.machines[m.ID] = fm
	return fm, nil
}

func (b *fakeBoot) machine(t *testing.T, id string) *fakeMachine {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.machines[id]
	if m == nil {
		t.Fatalf("instance %s was not booted", id)
	}
	return m
}

func (b *fakeBoot) booted(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.machines[id] != nil
}

func (m *fakeMachine) Stop(context.Context) error {
	time.Sleep(m.boot.stopping) // in a bubble
	m.boot.mu.Lock()
	defer m.boot.mu.Unlock()
	m.stopped = true
	return nil
}

func (m *fakeMachine) Discard() error {
	m.boot.mu.Lock()
	defer m.boot.mu.Unlock()
	m.discarded = true
	return nil
}

// newServer makes an endpoint that ends with the test, with machines that have
// no processes, and without limits on calls, unless the options say otherwise.
func newServer(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.Boot == nil {
		opts.Boot = (&fakeBoot{}).start
	}
	if opts.RateScale == 0 {
		opts.RateScale = -1
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newClient makes the AWS SDK's own client, which reaches the endpoint without
// a socket.
func newClient(s *Server, options ...func(*ec2.Options)) *ec2.Client {
	return ec2.New(ec2.Options{
		Region:       s.opts.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(DefaultAccessKeyID, DefaultSecretAccessKey, ""),
		BaseEndpoint: aws.String("http://ec2.local"),
		HTTPClient:   &http.Client{Transport: s},
		Retryer:      aws.NopRetryer{},
	}, options...)
}

// wantCode fails the test unless the API answered with this error code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	switch {
	case err == nil:
		t.Errorf("the call went well; want %s", code)
	case !errors.As(err, &api):
		t.Errorf("%v; want %s", err, code)
	case api.ErrorCode() != code:
		t.Errorf("%v; want %s", err, code)
	}
}

// codeOf is the error code that the API answered with, "" for none.
func codeOf(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	return api.ErrorCode()
}

// run launches, and fails the test if that fails.
func run(t testing.TB, client *ec2.Client, change ...func(*ec2.RunInstancesInput)) *ec2.RunInstancesOutput {
	t.Helper()
	out, err := client.RunInstances(t.Context(), launchInput(change...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func launchInput(change ...func(*ec2.RunInstancesInput)) *ec2.RunInstancesInput {
	in := &ec2.RunInstancesInput{
		ImageId: aws.String(ScriptImageID), InstanceType: types.InstanceTypeT3Micro,
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	}
	for _, f := range change {
		f(in)
	}
	return in
}

// describeOne returns an instance as the API describes it.
func describeOne(t *testing.T, client *ec2.Client, id string) types.Instance {
	t.Helper()
	out, err := client.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Reservations) != 1 || len(out.Reservations[0].Instances) != 1 {
		t.Fatalf("got %d reservations for one instance", len(out.Reservations))
	}
	return out.Reservations[0].Instances[0]
}

func terminate(t testing.TB, client *ec2.Client, ids ...string) *ec2.TerminateInstancesOutput {
	t.Helper()
	out, err := client.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func count(n int32) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) { in.MinCount, in.MaxCount = aws.Int32(n), aws.Int32(n) }
}
