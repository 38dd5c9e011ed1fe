package ec2sim

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// running launches one instance and waits until it runs, in a bubble.
func running(t *testing.T, client *ec2.Client, change ...func(*ec2.RunInstancesInput)) string {
	t.Helper()
	id := *run(t, client, change...).Instances[0].InstanceId
	time.Sleep(defaultBootDelay)
	synctest.Wait()
	return id
}

// wantRefusal is wantCode for one case of a table, in a bubble, which has no
// subtests.
func wantRefusal(t *testing.T, name string, err error, code string) {
	t.Helper()
	if got := codeOf(err); got != code {
		t.Errorf("%s: got %q (%v); want %s", name, got, err, code)
	}
}

func allocate(t *testing.T, client *ec2.Client) *ec2.AllocateAddressOutput {
	t.Helper()
	out, err := client.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func theAddress(t *testing.T, client *ec2.Client, allocation string) types.Address {
	t.Helper()
	out, err := client.DescribeAddresses(t.Context(), &ec2.DescribeAddressesInput{AllocationIds: []string{allocation}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Addresses[0]
}

// metadataOf asks an instance's metadata service.
func metadataOf(t *testing.T, boot *fakeBoot, id, item string) string {
	t.Helper()
	w := httptest.NewRecorder()
	boot.machine(t, id).Metadata.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/latest/meta-data/"+item, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s: status %d, %v", item, w.Code, err)
	}
	return string(body)
}

func TestAddressLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boot := &fakeBoot{}
		client := newClient(newServer(t, Options{Boot: boot.start}))
		elastic := allocate(t, client)
		id := running(t, client)
		before := *describeOne(t, client, id).PublicIpAddress

		out, err := client.AssociateAddress(t.Context(), &ec2.AssociateAddressInput{
			AllocationId: elastic.AllocationId, InstanceId: &id, AllowReassociation: aws.Bool(false),
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := *describeOne(t, client, id).PublicIpAddress; got != *elastic.PublicIp {
			t.Errorf("the instance's public address is %s; want %s", got, *elastic.PublicIp)
		}
		if got := metadataOf(t, boot, id, "public-ipv4"); got != *elastic.PublicIp {
			t.Errorf("the metadata's public address is %s; want %s", got, *elastic.PublicIp)
		}
		a := theAddress(t, client, *elastic.AllocationId)
		if aws.ToString(a.InstanceId) != id || aws.ToString(a.AssociationId) != *out.AssociationId || aws.ToString(a.PrivateIpAddress) == "" {
			t.Errorf("associated as %+v", a)
		}

		other := running(t, client)
		associate := func(instance string, reassociate *bool) error {
			_, err := client.AssociateAddress(t.Context(), &ec2.AssociateAddressInput{
				PublicIp: elastic.PublicIp, InstanceId: &instance, AllowReassociation: reassociate,
			})
			return err
		}
		wantCode(t, associate(other, aws.Bool(false)), "Resource.AlreadyAssociated")
		if err := associate(id, aws.Bool(false)); err != nil {
			t.Errorf("a second time for the same instance: %v", err)
		}
		if _, err := client.ReleaseAddress(t.Context(), &ec2.ReleaseAddressInput{AllocationId: elastic.AllocationId}); err == nil {
			t.Error("an address in use was released")
		} else {
			wantCode(t, err, "InvalidIPAddress.InUse")
		}
		if err := associate(other, nil); err != nil {
			t.Fatalf("reassociation is the default: %v", err)
		}
		if got := *describeOne(t, client, id).PublicIpAddress; got == before || got == *elastic.PublicIp {
			t.Errorf("the instance that lost the address has %s", got)
		}

		terminate(t, client, other)
		synctest.Wait()
		if a := theAddress(t, client, *elastic.AllocationId); a.InstanceId != nil || a.AssociationId != nil {
			t.Errorf("the instance's end left the address as %+v", a)
		}
		if err := associate(id, aws.Bool(false)); err != nil {
			t.Fatalf("the address of an instance that has ended is not free: %v", err)
		}
		association := theAddress(t, client, *elastic.AllocationId).AssociationId
		if _, err := client.DisassociateAddress(t.Context(), &ec2.DisassociateAddressInput{AssociationId: association}); err != nil {
			t.Fatal(err)
		}
		_, err = client.DisassociateAddress(t.Context(), &ec2.DisassociateAddressInput{AssociationId: association})
		wantCode(t, err, "InvalidAssociationID.NotFound")
		if _, err := client.ReleaseAddress(t.Context(), &ec2.ReleaseAddressInput{AllocationId: elastic.AllocationId}); err != nil {
			t.Fatal(err)
		}
		_, err = client.DescribeAddresses(t.Context(), &ec2.DescribeAddressesInput{PublicIps: []string{*elastic.PublicIp}})
		wantCode(t, err, "InvalidAddress.NotFound")
	})
}

func TestAddressRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(newServer(t, Options{}))
		elastic := allocate(t, client)
		pending := *run(t, client).Instances[0].InstanceId
		ctx := t.Context()
		for name, tc := range map[string]struct {
			call func() error
			code string
		}{
			"unknown address": {func() error {
				_, err := client.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{PublicIps: []string{"192.0.2.9"}})
				return err
			}, "InvalidAddress.NotFound"},
			"no address": {func() error {
				_, err := client.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{PublicIps: []string{"bogus"}})
				return err
			}, "InvalidParameterValue"},
			"unknown allocation": {func() error {
				_, err := client.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{AllocationIds: []string{"eipalloc-01234567"}})
				return err
			}, "InvalidAllocationID.NotFound"},
			"pending": {func() error {
				_, err := client.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: elastic.AllocationId, InstanceId: &pending})
				return err
			}, "InvalidInstanceID"},
			"unknown instance": {func() error {
				_, err := client.AssociateAddress(ctx, &ec2.AssociateAddressInput{
					AllocationId: elastic.AllocationId, InstanceId: aws.String("i-01234567"),
				})
				return err
			}, "InvalidInstanceID.NotFound"},
			"which address": {func() error {
				_, err := client.AssociateAddress(ctx, &ec2.AssociateAddressInput{InstanceId: &pending})
				return err
			}, "MissingParameter"},
			"disassociate by address": {func() error {
				_, err := client.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{PublicIp: elastic.PublicIp})
				return err
			}, "InvalidParameterValue"},
			"release by address": {func() error {
				_, err := client.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{PublicIp: elastic.PublicIp})
				return err
			}, "InvalidParameterValue"},
			"taken": {func() error {
				_, err := client.AllocateAddress(ctx, &ec2.AllocateAddressInput{Address: elastic.PublicIp})
				return err
			}, "InvalidAddress.NotFound"},
			"dry run": {func() error {
				_, err := client.AllocateAddress(ctx, &ec2.AllocateAddressInput{DryRun: aws.Bool(true)})
				return err
			}, "DryRunOperation"},
		} {
			wantRefusal(t, name, tc.call(), tc.code)
		}
		out, err := client.DescribeAddresses(ctx, nil)
		if err != nil || len(out.Addresses) != 1 {
			t.Errorf("%d addresses, %v; want the one", len(out.Addresses), err)
		}
		for n := 2; n <= maxElastic; n++ {
			allocate(t, client)
		}
		_, err = client.AllocateAddress(ctx, &ec2.AllocateAddressInput{})
		wantCode(t, err, "AddressLimitExceeded")
	})
}
