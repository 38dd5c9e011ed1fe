package ec2sim

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// BenchmarkRunAndTerminate measures a launch and a termination through the
// SDK, of machines without processes.
func BenchmarkRunAndTerminate(b *testing.B) {
	client := newClient(newServer(b, Options{BootDelay: -1}))
	for b.Loop() {
		terminate(b, client, *run(b, client).Instances[0].InstanceId)
	}
	b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkDescribeInstances measures a poll of 1,000 instances through the
// SDK, which takes most of it to read the answer.
func BenchmarkDescribeInstances(b *testing.B) {
	client := newClient(newServer(b, Options{BootDelay: time.Hour, MaxInstances: 1000}))
	run(b, client, count(1000))
	b.ResetTimer()
	for b.Loop() {
		out, err := client.DescribeInstances(b.Context(), &ec2.DescribeInstancesInput{})
		if err != nil {
			b.Fatal(err)
		}
		if n := len(idsOf(out)); n != 1000 {
			b.Fatal(n)
		}
	}
}
