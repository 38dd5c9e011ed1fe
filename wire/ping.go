package wire

import (
	"fmt"
	"time"
)

const (
	// PingInterval is how often each side gives a sign of life: a third of the
	// minute after which balancers cut a silent connection (AWS's, nginx's and
	// HAProxy's usual limit).
	PingInterval = 20 * time.Second
	// pingPatience is how much later than that the other side's sign may come.
	pingPatience = 10 * time.Second
)

// opPing is the one request that has no answer.
const opPing = "ping"

// hear notes a sign of life.
func (p *peer) hear() { p.heard.Store(int64(time.Since(p.begin))) }

// watch pings the other side, and ends the connection when nothing is heard of it.
// held says that it is this side that does not listen.
func (p *peer) watch(held func() bool) {
	p.hear()
	ping := time.NewTicker(PingInterval)
	defer ping.Stop()
	const patience = PingInterval + pingPatience
	judge := time.NewTimer(patience)
	defer judge.Stop()
	for {
		select {
		case <-ping.C:
			p.ping()
		case <-judge.C:
			if held() {
				p.hear()
			}
			silent := time.Since(p.begin) - time.Duration(p.heard.Load())
			if silent >= patience {
				p.drop(fmt.Errorf("nothing was heard of the other side for %v", patience))
				return
			}
			judge.Reset(patience - silent)
		case <-p.done:
			return
		}
	}
}

// ping sends a sign of life, unless something is being sent already. It is not
// answered: the answers that a side which is held back cannot read would pile up.
func (p *peer) ping() {
	p.mu.Lock()
	seq := p.next
	p.next++
	p.mu.Unlock()
	b, _ := appendRequest(getBuffer(), seq, opPing, nil) // it always encodes
	select {
	case p.requests <- b:
	default:
		putBuffer(b)
	}
}
