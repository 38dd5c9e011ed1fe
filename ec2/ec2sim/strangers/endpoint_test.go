package strangers_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	region  = "us-east-1"
	account = "123456789012"
	// patience is how long a stranger may take for one thing on a machine that
	// has much else to do. Nothing waits for it unless something is wrong.
	patience = 10 * time.Minute
	// glance is between two looks at something of which nothing tells.
	glance = 20 * time.Millisecond
)

// endpoint is a local EC2 endpoint that serves on the loopback and remembers
// what it was asked.
type endpoint struct {
	*ec2sim.Server
	url    string
	client *ec2.Client // for what the test itself asks; not remembered

	mu    sync.Mutex
	calls []url.Values
}

// serve starts an endpoint that ends, with all its instances, when the test
// does.
func serve(t *testing.T, opts ec2sim.Options) *endpoint {
	t.Helper()
	opts.Region, opts.AccountID, opts.Dir = region, account, t.TempDir()
	opts.Logger = slog.New(slog.DiscardHandler)
	sim, err := ec2sim.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{Server: sim}
	server := httptest.NewServer(e)
	e.url = server.URL
	e.client = ec2.New(ec2.Options{
		Region:       region,
		Credentials:  credentials.NewStaticCredentialsProvider(ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, ""),
		BaseEndpoint: aws.String("http://ec2.local"),
		HTTPClient:   &http.Client{Transport: sim},
	})
	t.Cleanup(func() {
		server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := sim.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

// ServeHTTP notes what a stranger asks before it is answered.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if form, err := url.ParseQuery(string(body)); err == nil && form.Has("Action") {
		e.mu.Lock()
		e.calls = append(e.calls, form)
		e.mu.Unlock()
	}
	e.Server.ServeHTTP(w, r)
}

// asked returns the calls of an action so far, oldest first.
func (e *endpoint) asked(action string) []url.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []url.Values
	for _, form := range e.calls {
		if form.Get("Action") == action {
			found = append(found, form)
		}
	}
	return found
}

// entry returns the ledger's row of an instance.
func (e *endpoint) entry(t *testing.T, id string) ec2sim.LedgerEntry {
	t.Helper()
	rows := e.Ledger().Instances
	i := slices.IndexFunc(rows, func(row ec2sim.LedgerEntry) bool { return row.ID == id })
	if i < 0 {
		t.Fatalf("there is no instance %q in the ledger", id)
	}
	return rows[i]
}

// awaitNoneAlive waits until every instance has ended.
func (e *endpoint) awaitNoneAlive(t *testing.T) {
	t.Helper()
	await(t, "the end of all instances", func() bool { return e.Ledger().Alive() == 0 })
}

// await waits for something of which nothing tells.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, ctx.Err())
		}
	}
}
