package machine

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/dormouse-ci/dormouse"
)

const (
	// maxUserData is EC2's limit of user data, 16 KB raw ("Run commands when
	// you launch an EC2 instance with user data input", EC2 User Guide), and
	// some.
	maxUserData = 32 << 10
	// metadataMaxDelay is how long a boot may be delayed by one unlucky
	// attempt at the metadata service, which is next door.
	metadataMaxDelay = 4 * time.Second
)

// Metadata is what the agent wants of the instance it runs on.
type Metadata struct {
	InstanceID string
	UserData   string
}

// ReadMetadata asks the instance metadata service, version 2 only, at its
// well-known address or at AWS_EC2_METADATA_SERVICE_ENDPOINT. While the service
// does not answer, as when the network comes up after the agent, it asks again
// until ctx ends. Its errors are Unavailable for that, and NotFound where the
// instance has no user data.
func ReadMetadata(ctx context.Context) (m Metadata, err error) {
	client := newMetadataClient()
	err = untilAnswered(ctx, func() error {
		if m.InstanceID, err = readInstanceID(ctx, client); err != nil {
			return err
		}
		data, err := client.GetUserData(ctx, nil)
		if err != nil {
			return metadataError("user data", err)
		}
		if m.UserData, err = readAll(data.Content); err != nil {
			return metadataError("user data", err)
		}
		return nil
	})
	if err != nil {
		return Metadata{}, err
	}
	return m, nil
}

// ReadInstanceID asks the instance metadata service for this machine's id
// alone, as [ReadMetadata] does.
func ReadInstanceID(ctx context.Context) (id string, err error) {
	client := newMetadataClient()
	err = untilAnswered(ctx, func() error {
		id, err = readInstanceID(ctx, client)
		return err
	})
	return id, err
}

func newMetadataClient() *imds.Client {
	return imds.New(imds.Options{EnableFallback: aws.FalseTernary})
}

// untilAnswered reads again while the service does not answer.
func untilAnswered(ctx context.Context, read func() error) error {
	for failures := 1; ; failures++ {
		err := read()
		if dormouse.CodeOf(err) != dormouse.Unavailable {
			return err
		}
		select {
		case <-time.After(Backoff(failures, metadataMaxDelay, rand.Float64())):
		case <-ctx.Done():
			return err
		}
	}
}

func readInstanceID(ctx context.Context, client *imds.Client) (string, error) {
	out, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: "instance-id"})
	if err != nil {
		return "", metadataError("the instance's id", err)
	}
	id, err := readAll(out.Content)
	if err != nil {
		return "", metadataError("the instance's id", err)
	}
	return strings.TrimSpace(id), nil
}

func readAll(body io.ReadCloser) (string, error) {
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxUserData))
	return string(text), err
}

func metadataError(what string, err error) error {
	var status *smithyhttp.ResponseError
	if errors.As(err, &status) && status.HTTPStatusCode() == http.StatusNotFound {
		return dormouse.Errorf(dormouse.NotFound, "the instance metadata service does not have %s", what)
	}
	return dormouse.Errorf(dormouse.Unavailable, "cannot read %s from the instance metadata service: %w", what, err)
}
