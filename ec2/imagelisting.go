package ec2

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/sync/singleflight"

	"github.com/dormouse-ci/dormouse"
)

const (
	// imagesFresh is how old a listing of images may be when it is used for a
	// start: a new image is taken up within a minute, and a burst of starts
	// lists once.
	imagesFresh = time.Minute
	// imagesPage is the most that DescribeImages gives at once.
	imagesPage = 1000
	// maxListings bounds the listings that are kept, of filters that may have
	// left the configuration since.
	maxListings = 64
)

// imageListings keeps what DescribeImages answered, by filter. A pinned image
// is a listing of its own that does not age: what is asked of it, its kind of
// root device, never changes.
type imageListings struct {
	flight singleflight.Group
	mu     sync.Mutex
	kept   map[string]imageListing
}

type imageListing struct {
	images []Image
	at     time.Time
}

func (l *imageListings) get(key string, fresh time.Duration) ([]Image, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.kept[key]
	if !ok || fresh > 0 && time.Since(k.at) >= fresh {
		return nil, false
	}
	return k.images, true
}

func (l *imageListings) put(key string, images []Image, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		l.kept = map[string]imageListing{}
	}
	for len(l.kept) >= maxListings {
		oldest := ""
		for k, v := range l.kept {
			if oldest == "" || v.at.Before(l.kept[oldest].at) {
				oldest = k
			}
		}
		delete(l.kept, oldest)
	}
	l.kept[key] = imageListing{images, at}
}

// forgetImage drops every listing that offered an image which EC2 then did not
// know.
func (l *imageListings) forgetImage(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, k := range l.kept {
		if slices.ContainsFunc(k.images, func(i Image) bool { return i.ID == id }) {
			delete(l.kept, key)
		}
	}
}

func (a *Account) chooseImage(ctx context.Context, spec LaunchSpec) (Image, error) {
	filtered := len(spec.ValidAMIOwners) > 0 || spec.ValidAMILocationRegex != ""
	switch {
	case spec.AMI != "" && filtered:
		return Image{}, dormouse.Errorf(dormouse.Configuration,
			"worker %s: give ami, or valid_ami_owners and valid_ami_location_regex, not both", spec.Worker)
	case spec.AMI != "":
		return a.pinnedImage(ctx, spec.AMI)
	case !filtered:
		return Image{}, dormouse.Errorf(dormouse.Configuration,
			"worker %s names no image: give ami, or one or both of valid_ami_owners and valid_ami_location_regex", spec.Worker)
	}
	location, err := compileLocation(spec.ValidAMILocationRegex)
	if err != nil {
		return Image{}, err
	}
	owners := make([]string, len(spec.ValidAMIOwners))
	for i, owner := range spec.ValidAMIOwners {
		owners[i] = ownerID(owner)
	}
	slices.Sort(owners)
	owners = slices.Compact(owners)
	images, err := a.listImages(ctx, "owners:"+strings.Join(owners, ","), imagesFresh, &ec2.DescribeImagesInput{Owners: owners})
	if err != nil {
		return Image{}, err
	}
	sorted := SortImages(images, location)
	if len(sorted) == 0 {
		return Image{}, dormouse.Errorf(dormouse.Configuration,
			"no available image in %s matches valid_ami_owners %v and valid_ami_location_regex %q (%d images looked at): "+
				"is it shared with this account, and in this region?",
			a.region, owners, spec.ValidAMILocationRegex, len(images))
	}
	return sorted[len(sorted)-1], nil
}

func (a *Account) pinnedImage(ctx context.Context, id string) (Image, error) {
	images, err := a.listImages(ctx, "id:"+id, 0, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	unknown := false
	if e, ok := asError(err); ok && strings.HasPrefix(e.Remote, "InvalidAMIID.") {
		unknown = true
	} else if err != nil {
		return Image{}, err
	}
	if unknown || len(images) == 0 {
		return Image{}, &dormouse.Error{
			Code:   dormouse.Configuration,
			Remote: "InvalidAMIID.NotFound",
			Message: fmt.Sprintf("AMI %s does not exist in %s for this account: check the id and the region, "+
				"or have its owner share it with the account", id, a.region),
		}
	}
	if state := images[0].State; state != "available" {
		a.images.forgetImage(id)
		return Image{}, dormouse.Errorf(dormouse.Configuration,
			"AMI %s in %s can not be launched: its state is %q; wait until it is available or choose another", id, a.region, state)
	}
	return images[0], nil
}

func (a *Account) listImages(ctx context.Context, key string, fresh time.Duration, in *ec2.DescribeImagesInput) ([]Image, error) {
	if images, ok := a.images.get(key, fresh); ok {
		return images, nil
	}
	return share(ctx, &a.images.flight, key, func(ctx context.Context) ([]Image, error) {
		start := time.Now() // not the end: what came in between may be missing
		var images []Image
		in := *in
		if len(in.ImageIds) == 0 {
			in.MaxResults = new(int32(imagesPage)) // EC2 refuses it together with ids
		}
		for {
			out, err := call(ctx, a, action{name: "DescribeImages"}, a.api.describeImages, &in)
			if err != nil {
				return nil, err
			}
			for _, i := range out.Images {
				images = append(images, Image{
					ID:             deref(i.ImageId),
					Location:       deref(i.ImageLocation),
					State:          string(i.State),
					RootDeviceType: string(i.RootDeviceType),
				})
			}
			if in.NextToken = out.NextToken; deref(in.NextToken) == "" {
				break
			}
		}
		a.images.put(key, images, start)
		return images, nil
	})
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
