package ec2sim

import (
	"encoding/base64"
	"slices"
	"sync"
	"time"
)

// consoleSize is what EC2 keeps: "the most recent 64 KB of output".
const consoleSize = 64 << 10

// console keeps the end of what a machine printed.
type console struct {
	mu      sync.Mutex
	text    []byte // at most twice consoleSize, so that old output goes rarely
	updated time.Time
}

// Write never fails.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.updated = time.Now()
	n := len(p)
	p = p[max(0, len(p)-consoleSize):]
	if len(c.text)+len(p) > 2*consoleSize {
		c.text = slices.Delete(c.text, 0, min(len(c.text), len(c.text)+len(p)-consoleSize))
	}
	c.text = append(c.text, p...)
	return n, nil
}

// last returns the last 64 KiB and when they ended.
func (c *console) last() ([]byte, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.text[max(0, len(c.text)-consoleSize):]), c.updated
}

// trim gives back the memory that only further output would need.
func (c *console) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = slices.Clip(slices.Clone(c.text[max(0, len(c.text)-consoleSize):]))
}

type getConsoleOutputInput struct {
	InstanceID string `query:"InstanceId,required"`
	// Latest asks for what was printed until now instead of what EC2 kept at
	// the last change of state. Here the one is as good as the other.
	_ ignored `query:"Latest"`
}

type getConsoleOutputOutput struct {
	reply
	InstanceID string `xml:"instanceId"`
	Timestamp  string `xml:"timestamp,omitempty"`
	Output     string `xml:"output,omitempty"`
}

func (c *call) getConsoleOutput(in getConsoleOutputInput) (*getConsoleOutputOutput, error) {
	found, err := lookUp(instanceKind, []string{in.InstanceID}, c.instance)
	if err != nil {
		return nil, err
	}
	text, at := found[0].console.last()
	return &getConsoleOutputOutput{
		InstanceID: in.InstanceID, Timestamp: stamp(at), Output: base64.StdEncoding.EncodeToString(text),
	}, nil
}
