package ec2sim

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// consoleOf returns what an instance has printed, through the API.
func consoleOf(t *testing.T, client *ec2.Client, id string) string {
	t.Helper()
	out, err := client.GetConsoleOutput(t.Context(), &ec2.GetConsoleOutputInput{InstanceId: aws.String(id), Latest: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestConsoleKeepsTheEnd(t *testing.T) {
	for _, chunk := range []int{1, 7, 1000, consoleSize - 1, consoleSize, consoleSize + 1, 3*consoleSize + 5} {
		var c console
		var all bytes.Buffer
		for i := 0; all.Len() < 4*consoleSize; i++ {
			p := bytes.Repeat([]byte{byte('a' + i%26)}, chunk)
			p[0] = '\n'
			all.Write(p)
			if n, err := c.Write(p); n != chunk || err != nil {
				t.Fatalf("wrote %d, %v", n, err)
			}
			if len(c.text) > 2*consoleSize {
				t.Fatalf("it holds %d bytes", len(c.text))
			}
		}
		want := all.Bytes()[all.Len()-consoleSize:]
		if got, _ := c.last(); !bytes.Equal(got, want) {
			t.Errorf("chunks of %d: not the last 64 KiB", chunk)
		}
		c.trim()
		if got, _ := c.last(); !bytes.Equal(got, want) {
			t.Errorf("chunks of %d: not the last 64 KiB once trimmed", chunk)
		}
	}
}

func TestGetConsoleOutputRefuses(t *testing.T) {
	client := newClient(newServer(t, Options{}))
	_, err := client.GetConsoleOutput(t.Context(), &ec2.GetConsoleOutputInput{InstanceId: aws.String("i-12345678")})
	wantCode(t, err, "InvalidInstanceID.NotFound")
	if !strings.Contains(err.Error(), "i-12345678") {
		t.Errorf("%v does not name the instance", err)
	}
}
