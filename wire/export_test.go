package wire

import "context"

// Held reports whether the connection's reader is held back.
func Held(w *Worker) bool { return w.budget.held() }

// SendUpdate encodes and sends updates of a command without a group.
func (c *AgentConn) SendUpdate(ctx context.Context, commandID string, updates []UpdatePair) (wait func(context.Context) error, err error) {
	encoded, err := EncodeUpdates(updates)
	if err != nil {
		return nil, err
	}
	return c.Send(ctx, commandID, NoPosition, encoded)
}
