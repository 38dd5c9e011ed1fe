package ec2sim_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// An endpoint is an HTTP handler, and also the transport of a client in the
// same process.
func Example() {
	endpoint, err := ec2sim.New(ec2sim.Options{Region: "eu-west-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer endpoint.Close(context.Background())

	client := ec2.New(ec2.Options{
		Region:       "eu-west-1",
		BaseEndpoint: aws.String("http://ec2.local"),
		HTTPClient:   &http.Client{Transport: endpoint},
		Credentials:  credentials.NewStaticCredentialsProvider(ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey, ""),
	})
	zones, err := client.DescribeAvailabilityZones(context.Background(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, zone := range zones.AvailabilityZones {
		fmt.Println(*zone.ZoneName)
	}
	fmt.Println(endpoint.Ledger().Alive(), "instances alive")
	// Output:
	// eu-west-1a
	// eu-west-1b
	// eu-west-1c
	// 0 instances alive
}
