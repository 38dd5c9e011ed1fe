package wire

import (
	"context"
	"errors"
	"time"
)

// Notice is EC2's word that it will take a spot instance back.
type Notice struct {
	// Rebalance is a recommendation to leave the instance, which is at a higher
	// risk; else At is when it is taken.
	Rebalance bool
	At        time.Time
}

// Interruption tells the master of a notice. It is for a connection with the
// extension [Interruption].
func (c *AgentConn) Interruption(ctx context.Context, n Notice) error {
	_, err := c.call(ctx, "interruption", field{"rebalance", n.Rebalance}, field{"at", seconds(n.At)})
	return err
}

var errNotice = errors.New("interruption without rebalance and at")

// interruption hands a notice to the server's owner, aside: the reader must not
// wait for whoever that concerns.
func (w *Worker) interruption(f *frame, buf []byte) {
	rebalance, ok1 := f.value("rebalance").(bool)
	at, ok2 := timeFrom(f.value("at"))
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
