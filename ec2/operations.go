package ec2

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/pricing"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/dormouse-ci/dormouse"
)

const (
	// attempts is how often the SDK sends one request at most: AWS's own
	// default for its standard mode. Whoever called decides on more.
	attempts = 3
	// maxBackoff bounds the SDK's wait between attempts. A caller holds back
	// a worker meanwhile, and has a longer back-off of its own.
	maxBackoff = 5 * time.Second
	// attemptTimeout is how long one request may take, from its first byte to
	// the answer's last: boto's read timeout. RunInstances for hundreds of
	// instances takes some ten seconds.
	attemptTimeout = 60 * time.Second
)

// definite keeps the SDK from repeating what EC2 has refused in its own words
// but with status 500, as it does when it has no capacity: the next offering
// should be tried at once.
func definite(err error) aws.Ternary {
	switch meanings[remoteCode(err)].class {
	case dormouse.Capacity, dormouse.Quota, dormouse.Configuration, dormouse.NotFound:
		return aws.FalseTernary
	default:
		return aws.UnknownTernary
	}
}

type operation[In, Out any] func(context.Context, *In, ...func(*ec2.Options)) (*Out, error)

// operations holds the few calls that are used as functions. A *ec2.Client in
// an interface would keep the client's 700 methods, 30 MB, in the binary.
type operations struct {
	associateAddress             operation[ec2.AssociateAddressInput, ec2.AssociateAddressOutput]
	attachVolume                 operation[ec2.AttachVolumeInput, ec2.AttachVolumeOutput]
	cancelSpotInstanceRequests   operation[ec2.CancelSpotInstanceRequestsInput, ec2.CancelSpotInstanceRequestsOutput]
	createKeyPair                operation[ec2.CreateKeyPairInput, ec2.CreateKeyPairOutput]
	createSecurityGroup          operation[ec2.CreateSecurityGroupInput, ec2.CreateSecurityGroupOutput]
	describeAddresses            operation[ec2.DescribeAddressesInput, ec2.DescribeAddressesOutput]
	describeImages               operation[ec2.DescribeImagesInput, ec2.DescribeImagesOutput]
	describeInstances            operation[ec2.DescribeInstancesInput, ec2.DescribeInstancesOutput]
	describeInstanceTypes        operation[ec2.DescribeInstanceTypesInput, ec2.DescribeInstanceTypesOutput]
	describeKeyPairs             operation[ec2.DescribeKeyPairsInput, ec2.DescribeKeyPairsOutput]
	describeRegions              operation[ec2.DescribeRegionsInput, ec2.DescribeRegionsOutput]
	describeSecurityGroups       operation[ec2.DescribeSecurityGroupsInput, ec2.DescribeSecurityGroupsOutput]
	describeSpotPrices           operation[ec2.DescribeSpotPriceHistoryInput, ec2.DescribeSpotPriceHistoryOutput]
	describeSpotInstanceRequests operation[ec2.DescribeSpotInstanceRequestsInput, ec2.DescribeSpotInstanceRequestsOutput]
	describeSubnets              operation[ec2.DescribeSubnetsInput, ec2.DescribeSubnetsOutput]
	describeTemplate             operation[ec2.DescribeLaunchTemplateVersionsInput, ec2.DescribeLaunchTemplateVersionsOutput]
	describeVolumes              operation[ec2.DescribeVolumesInput, ec2.DescribeVolumesOutput]
	disassociateAddress          operation[ec2.DisassociateAddressInput, ec2.DisassociateAddressOutput]
	getCallerIdentity            operation[sts.GetCallerIdentityInput, sts.GetCallerIdentityOutput]
	getConsoleOutput             operation[ec2.GetConsoleOutputInput, ec2.GetConsoleOutputOutput]
	getServiceQuota              operation[servicequotas.GetServiceQuotaInput, servicequotas.GetServiceQuotaOutput]
	getProducts                  operation[pricing.GetProductsInput, pricing.GetProductsOutput]
	runInstances                 operation[ec2.RunInstancesInput, ec2.RunInstancesOutput]
	terminateInstances           operation[ec2.TerminateInstancesInput, ec2.TerminateInstancesOutput]
}

func newOperations(cfg aws.Config, t *transit) operations {
	// The retryer sends the very same input again, ClientToken included.
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts = attempts
			r.MaxBackoff = maxBackoff
			r.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(definite)}, r.Retryables...)
		})
	}
	cfg.APIOptions = append(slices.Clone(cfg.APIOptions), func(stack *middleware.Stack) error {
		// Inside the retry loop, so that each attempt takes its token, and
		// before the signature, which carries the time.
		return stack.Finalize.Insert(t, "Signing", middleware.Before)
	})
	client, identity := ec2.NewFromConfig(cfg), sts.NewFromConfig(cfg)
	quotas := servicequotas.NewFromConfig(cfg)
	cfg.Region = priceListRegion
	prices := pricing.NewFromConfig(cfg)
	return operations{
		associateAddress:             client.AssociateAddress,
		attachVolume:                 client.AttachVolume,
		cancelSpotInstanceRequests:   client.CancelSpotInstanceRequests,
		createKeyPair:                client.CreateKeyPair,
		createSecurityGroup:          client.CreateSecurityGroup,
		describeAddresses:            client.DescribeAddresses,
		describeImages:               client.DescribeImages,
		describeInstances:            client.DescribeInstances,
		describeInstanceTypes:        client.DescribeInstanceTypes,
		describeKeyPairs:             client.DescribeKeyPairs,
		describeRegions:              client.DescribeRegions,
		describeSecurityGroups:       client.DescribeSecurityGroups,
		describeSpotPrices:           client.DescribeSpotPriceHistory,
		describeSpotInstanceRequests: client.DescribeSpotInstanceRequests,
		describeSubnets:              client.DescribeSubnets,
		describeTemplate:             client.DescribeLaunchTemplateVersions,
		describeVolumes:              client.DescribeVolumes,
		disassociateAddress:          client.DisassociateAddress,
		getCallerIdentity: func(ctx context.Context, in *sts.GetCallerIdentityInput, _ ...func(*ec2.Options)) (*sts.GetCallerIdentityOutput, error) {
			return identity.GetCallerIdentity(ctx, in)
		},
		getConsoleOutput: client.GetConsoleOutput,
		getServiceQuota: func(ctx context.Context, in *servicequotas.GetServiceQuotaInput, _ ...func(*ec2.Options)) (*servicequotas.GetServiceQuotaOutput, error) {
			return quotas.GetServiceQuota(ctx, in)
		},
		getProducts: func(ctx context.Context, in *pricing.GetProductsInput, _ ...func(*ec2.Options)) (*pricing.GetProductsOutput, error) {
			return prices.GetProducts(ctx, in)
		},
		runInstances:       client.RunInstances,
		terminateInstances: client.TerminateInstances,
	}
}

// action is one call as the limits and the error classes see it.
type action struct {
	name      string
	mutating  bool
	unbounded bool // a Describe… without filter or page size
	spot      bool // a launch on the spot market
	instances int  // that are started or ended by it
}

// exchange is what happened on the way of one call, over all its attempts.
type exchange struct {
	action
	// lost says that an attempt was sent and no answer came that settles
	// whether it was carried out.
	lost bool
	sent int
	last error // of the newest attempt that failed by itself
}

type exchangeKey struct{}

// call carries an action out and classifies what came of it.
func call[In, Out any](ctx context.Context, a *Account, act action, op operation[In, Out], in *In) (*Out, error) {
	x := &exchange{action: act}
	out, err := op(context.WithValue(ctx, exchangeKey{}, x), in)
	if err != nil {
		return nil, a.classify(ctx, x, err)
	}
	return out, nil
}

// transit stands between the SDK's retry loop and the wire: it holds each
// attempt back until the account's limits allow it, counts it, bounds its
// time, and notes whether its answer was lost.
type transit struct {
	limits *limits
	count  func(action string)
	log    *slog.Logger
}

// ID implements the SDK's middleware.
func (t *transit) ID() string { return "DormouseTransit" }

// HandleFinalize implements the SDK's middleware.
func (t *transit) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	if x == nil {
		return next.HandleFinalize(ctx, in)
	}
	if err := t.limits.wait(ctx, x.action); err != nil {
		return middleware.FinalizeOutput{}, middleware.Metadata{}, err
	}
	t.count(x.name)
	x.sent++
	start := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, attemptTimeout, errNoAnswer)
	defer cancel()
	out, meta, err := next.HandleFinalize(limited, in)
	code := ""
	if err != nil {
		if code = remoteCode(err); code == "" && errors.Is(context.Cause(limited), errNoAnswer) {
			err = fmt.Errorf("%w: %w", errNoAnswer, err)
		}
		x.lost = x.lost || leavesOpen(err)
		if ctx.Err() == nil {
			x.last = err
		}
	}
	t.limits.settle(x.action, meanings[code].class == dormouse.Throttled)
	t.log.LogAttrs(ctx, slog.LevelDebug, "EC2 call", slog.String("action", x.name),
		slog.Int("attempt", x.sent), slog.Duration("took", time.Since(start)),
		slog.Bool("ok", err == nil), slog.String("code", code))
	return out, meta, err
}

var errNoAnswer = errors.New("no answer within " + attemptTimeout.String())

// remoteCode is EC2's own code of an error, "" if it did not come from EC2.
func remoteCode(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	if code := unprefixed(api.ErrorCode()); code != "UnknownError" {
		return code
	}
	return "" // the SDK's name for a body that it could not read
}
