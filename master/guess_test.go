package master_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
)

// Many connections at once guess no more than one would. They keep out neither a
// worker of another name, nor a machine with the secret that the master made for
// it, nor do they fill the log.
func TestGuesses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secrets := make(chan string, 1)
	s.boot = func(m ec2sim.Machine) {
		_, password, _ := strings.Cut(string(m.UserData), "DORMOUSE_WORKER_PASSWORD=")
		secrets <- strings.TrimSpace(password)
	}
	var log syncBuffer
	r := s.startWith(`
c['workers'] = [ec2('bot'), worker.Worker('plain', 'plain password'), worker.Worker('other', 'other password')]
forced([builder('b', ['bot', 'plain', 'other'], 'true')])
`, func(o *master.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	r.force("b", 1)
	secret := <-secrets
	for _, name := range []string{"bot", "plain", "nobody"} {
		var wg sync.WaitGroup
		var mu sync.Mutex
		answers := map[int]int{}
		for connection := range 8 {
			wg.Go(func() {
				for i := range 5 {
					status := r.dial(name, fmt.Sprint("guess ", connection, i), "")
					mu.Lock()
					answers[status]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		// On a machine that stands still for a while there is one more now and then.
		if n := answers[http.StatusUnauthorized]; n < 5 || n > 35 || answers[http.StatusTooManyRequests] != 40-n {
			t.Errorf("guesses at %s: %v", name, answers)
		}
	}
	if got := r.dial("plain", "plain password", ""); got == http.StatusUnauthorized {
		t.Errorf("what is right is answered %d: as what is wrong, and not as a guess too many", got)
	}
	for _, right := range [][2]string{{"other", "other password"}, {"bot", secret}} {
		if got := r.dial(right[0], right[1], ""); got != http.StatusSwitchingProtocols {
			t.Errorf("%s is kept out by those who guess: %d", right[0], got)
		}
	}
	if n := strings.Count(log.String(), "worker refused"); n > 30 {
		t.Errorf("%d lines of the log are of those who guess", n)
	}
}
