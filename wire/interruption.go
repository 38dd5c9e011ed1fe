package wire

import (
	"context"
	"errors"
	"math"
	"time"
)

// Notice is EC2's word that it will take a spot instance back.
type Notice struct {
	// Rebalance is a recommendation to leave the instance, which is at a higher
	// risk; else At is when it is taken, by this machine's clock.
	Rebalance bool
	At        time.Time
}

// Interruption tells the master of a notice. It is for a connection with the
// extension [Interruption]. How much time is left is told, too: the master's clock
// may be another.
func (c *AgentConn) Interruption(ctx context.Context, n Notice) error {
	_, err := c.call(ctx, "interruption", field{"rebalance", n.Rebalance}, field{"at", seconds(n.At)}, field{"left", time.Until(n.At).Seconds()})
	return err
}

// maxLeft is more seconds than any two clocks differ by, and fits a duration.
const maxLeft = 100 * 365 * 24 * 3600

var errNotice = errors.New("interruption without rebalance and at")

// interruption hands a notice to the server's owner, aside: the reader must not
// wait for whoever that concerns.
func (w *Worker) interruption(f *frame, buf []byte) {
	rebalance, ok1 := f.value("rebalance").(bool)
	at, ok2 := timeFrom(f.value("at"))
	left, ok := f.value("left").(float64)
	if ok && math.Abs(left) <= maxLeft { // an agent of an earlier Dormouse tells the time alone
		at = time.Now().Add(time.Duration(left * float64(time.Second)))
	}
	seq := f.seq
	putBuffer(buf)
	if !ok1 || !ok2 {
		w.replyNow(seq, errNotice)
		return
	}
	w.wg.Go(func() {
		w.server.o.Interrupted(w, Notice{Rebalance: rebalance, At: at})
		w.reply(seq, nil, nil)
	})
}
