package master_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// A machine has a lease for as long as its generation lives, and is told when
// that is over; whoever is not known learns nothing.
func TestLease(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	type machine struct{ id, secret string }
	boots := make(chan machine, 2)
	s.boot = func(m ec2sim.Machine) {
		_, secret, _ := strings.Cut(string(m.UserData), "DORMOUSE_WORKER_PASSWORD=")
		boots <- machine{m.ID, strings.TrimSpace(secret)}
	}
	r := s.start(`
c['workers'] = [ec2('bot', build_wait_timeout=3600), ec2('one-of-many', user_data=util.Interpolate('DORMOUSE_WORKER_PASSWORD=%(worker:secret)s')),
                worker.Worker('plain', 'plain password')]
forced([builder('b', ['bot'], 'true'), builder('b2', ['one-of-many'], 'true')])
`)
	post := func(method string, prepare func(*http.Request)) (status int, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.WorkerAddr()+"/lease", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		prepare(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	ask := func(what, name, password, instance string, status int, body string) {
		t.Helper()
		gotStatus, gotBody := post(http.MethodPost, func(req *http.Request) {
			if name != "" {
				req.SetBasicAuth(name, password)
			}
			req.Header.Set("Dormouse-Instance", instance)
		})
		if gotStatus != status || !strings.Contains(gotBody, body) {
			t.Errorf("%s: %d %q, want %d and %q", what, gotStatus, gotBody, status, body)
		}
	}
	const granted = `{"lease_seconds":600}`
	ask("a worker that has no generations", "plain", "plain password", "", http.StatusOK, granted)

	r.force("b", 1)
	bot := <-boots
	// Before the worker has attached, as soon as the launch has its answer.
	r.until("the instance", func() bool { return r.worker("bot").InstanceID == bot.id })
	ask("by the generation's secret", "bot", bot.secret, bot.id, http.StatusOK, granted)
	ask("by the worker's password", "bot", "password of bot", bot.id, http.StatusOK, granted)
	ask("a wrong password", "bot", "wrong", bot.id, http.StatusUnauthorized, "no worker")
	ask("nobody", "", "", bot.id, http.StatusUnauthorized, "name and password")
	ask("another's instance", "one-of-many", "password of one-of-many", bot.id, http.StatusConflict, "was started for worker bot")

	r.force("b2", 1)
	many := <-boots
	r.until("the instance", func() bool { return r.worker("one-of-many").InstanceID == many.id })
	ask("by the launch's secret", many.id, many.secret, many.id, http.StatusOK, granted)
	ask("by the launch's secret on another's instance", bot.id, many.secret, bot.id, http.StatusUnauthorized, "")

	if err := r.StopWorker(t.Context(), "bot", true); err != nil {
		t.Fatal(err)
	}
	r.until("the end", func() bool { return r.worker("bot").Phase == "shut down" })
	ask("a generation that is over", "bot", bot.secret, bot.id, http.StatusConflict, "should end")

	if status, _ := post(http.MethodGet, func(*http.Request) {}); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", status)
	}
	if status, _ := post(http.MethodPost, func(req *http.Request) { req.Header.Set("Authorization", "Bearer x") }); status != http.StatusBadRequest {
		t.Errorf("another kind of authorization: %d", status)
	}
}
