package watchdog

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// askPatience bounds one question. It leaves the master the time by which it
// slows down those who guess passwords.
const askPatience = 20 * time.Second

// maxLeaseAnswer bounds what is read of an answer, which is a line.
const maxLeaseAnswer = 4 << 10

// askLease asks the master for a lease, and returns its length. The error is
// Conflict where the master has no more use for this machine, and Unavailable
// or Unauthorized where it did not say.
func askLease(ctx context.Context, c Config) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, leaseURL(c.Master), http.NoBody)
	if err != nil {
		return 0, dormouse.Errorf(dormouse.Invalid, "ask for a lease: %w", err)
	}
	req.SetBasicAuth(c.Name, c.Password)
	req.Header.Set("User-Agent", c.Version)
	if c.InstanceID != "" {
		req.Header.Set(wire.HeaderInstance, c.InstanceID)
	}
	client := http.Client{
		Transport: c.Transport,
		// The password goes nowhere but to the address it is for.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, dormouse.Errorf(dormouse.Unavailable, "the master does not answer: %w", wire.ExplainTLS(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLeaseAnswer))
	if err != nil {
		return 0, dormouse.Errorf(dormouse.Unavailable, "the master's answer broke off: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return readLease(body)
	}
	said := strings.TrimSpace(strings.ToValidUTF8(string(body[:min(len(body), 512)]), "\uFFFD"))
	e := &dormouse.Error{Code: dormouse.Unavailable, Remote: resp.Status, Message: fmt.Sprintf("the master gives no lease (%s): %s", resp.Status, said)}
	switch resp.StatusCode {
	case http.StatusConflict:
		e.Code = dormouse.Conflict
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Code = dormouse.Unauthorized
	case http.StatusNotFound:
		e.Message = fmt.Sprintf("what answers at %s is no Dormouse master's port for workers (%s)", c.Master, resp.Status)
	}
	return 0, e
}

// readLease reads {"lease_seconds": 600}.
func readLease(body []byte) (time.Duration, error) {
	var answer struct {
		Seconds float64 `json:"lease_seconds"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, dormouse.Errorf(dormouse.Unavailable, "the master's lease cannot be read: %w", err)
	}
	if answer.Seconds < minLease.Seconds() || answer.Seconds > maxLease.Seconds() {
		return 0, dormouse.Errorf(dormouse.Unavailable, "the master's lease of %v s is not between %v and %v", answer.Seconds, minLease, maxLease)
	}
	return time.Duration(answer.Seconds * float64(time.Second)), nil
}

// leaseURL is where a lease is asked for: next to where the agent attaches. The
// address is one that machine.MasterURL made.
func leaseURL(master string) string {
	scheme, rest, _ := strings.Cut(master, "://")
	host, _, _ := strings.Cut(rest, "/")
	if scheme == "wss" {
		return "https://" + host + "/lease"
	}
	return "http://" + host + "/lease"
}
