package ec2sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// untilThrottled counts how many calls go well before one is refused, up to a
// limit.
func untilThrottled(t *testing.T, limit int, call func() error) int {
	t.Helper()
	for n := range limit {
		if err := call(); err != nil {
			wantCode(t, err, "RequestLimitExceeded")
			return n
		}
	}
	return limit
}

func TestDocumentedBuckets(t *testing.T) {
	for name, tc := range map[string]struct {
		call   func(*ec2.Client, *testing.T) error
		size   int
		refill int // in a second
	}{
		"RunInstances": {func(c *ec2.Client, t *testing.T) error {
			_, err := c.RunInstances(t.Context(), launchInput())
			return err
		}, 5, 2},
		"TerminateInstances": {func(c *ec2.Client, t *testing.T) error {
			_, err := c.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{"i-12345678"}})
			return ignoreCode(err, "InvalidInstanceID.NotFound")
		}, 100, 5},
		"CreateTags": {func(c *ec2.Client, t *testing.T) error {
			_, err := c.CreateTags(t.Context(), &ec2.CreateTagsInput{
				Resources: []string{"i-12345678"}, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}},
			})
			return ignoreCode(err, "InvalidInstanceID.NotFound")
		}, 100, 10},
		"CreateKeyPair": {func(c *ec2.Client, t *testing.T) error {
			_, err := c.CreateKeyPair(t.Context(), &ec2.CreateKeyPairInput{KeyName: aws.String("k")})
			return ignoreCode(err, "InvalidKeyPair.Duplicate")
		}, 50, 5},
		"DescribeInstances": {func(c *ec2.Client, t *testing.T) error {
			_, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
			return err
		}, 50, 10},
		"DescribeInstances in pages": {func(c *ec2.Client, t *testing.T) error {
			_, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5)})
			return err
		}, 100, 20},
		"DescribeInstances with a filter": {func(c *ec2.Client, t *testing.T) error {
			_, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{
				Filters: []types.Filter{{Name: aws.String("instance-type"), Values: []string{"t3.micro"}}},
			})
			return err
		}, 100, 20},
		"DescribeKeyPairs": {func(c *ec2.Client, t *testing.T) error {
			_, err := c.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
			return err
		}, 100, 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := newClient(newServer(t, Options{RateScale: 1}))
				call := func() error { return tc.call(client, t) }
				if n := untilThrottled(t, 200, call); n != tc.size {
					t.Errorf("%d calls went well at once; want %d", n, tc.size)
				}
				time.Sleep(time.Second)
				if n := untilThrottled(t, 200, call); n != tc.refill {
					t.Errorf("%d calls went well a second later; want %d", n, tc.refill)
				}
			})
		})
	}
}

// ignoreCode makes nothing of an answer that shows that the call was admitted.
func ignoreCode(err error, code string) error {
	if codeOf(err) == code {
		return nil
	}
	return err
}

// Instances have a bucket of their own, besides that of the calls.
func TestInstanceBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{RateScale: 1, MaxInstances: 3000, BootDelay: time.Hour}))
		run(t, client, count(1000))
		_, err := client.RunInstances(t.Context(), launchInput(count(10)))
		wantCode(t, err, "RequestLimitExceeded")
		time.Sleep(5 * time.Second)
		run(t, client, count(10))
		_, err = client.RunInstances(t.Context(), launchInput(count(1)))
		wantCode(t, err, "RequestLimitExceeded")
	})
}

func TestRateScale(t *testing.T) {
	if opts, err := (Options{}).withDefaults(); err != nil || opts.RateScale != 1 {
		t.Errorf("without a scale: %v, %v", opts.RateScale, err)
	}
	synctest.Test(t, func(t *testing.T) {
		for scale, want := range map[float64]int{-1: 100, 1: 2, 2: 4} {
			client := newClient(newServer(t, Options{RateScale: scale, MaxInstances: 1000, BootDelay: time.Hour}))
			call := func() error {
				_, err := client.RunInstances(t.Context(), launchInput())
				return err
			}
			untilThrottled(t, 5, call)
			time.Sleep(time.Second)
			if n := untilThrottled(t, 100, call); n != want {
				t.Errorf("with the rate scaled by %v %d calls went well in a second; want %d", scale, n, want)
			}
		}
	})
}
