package ec2

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
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

// resolveSSM is how an image id says that EC2 is to look it up, in the
// parameter store of the Systems Manager, at each launch.
const resolveSSM = "resolve:ssm:"

// chooseImage returns the image that a start takes.
func (a *Account) chooseImage(ctx context.Context, spec LaunchSpec) (Image, error) {
	candidates, err := a.candidates(ctx, spec)
	if err != nil {
		return Image{}, err
	}
	return candidates[len(candidates)-1], nil
}

// candidates are the images that the spec allows, at least one, and the last is
// the one to take.
func (a *Account) candidates(ctx context.Context, spec LaunchSpec) ([]Image, error) {
	filtered := len(spec.ValidAMIOwners) > 0 || spec.ValidAMILocationRegex != "" || len(spec.AMIFilters) > 0
	given := 0
	for _, is := range []bool{spec.AMI != "", spec.AMISSMParameter != "", filtered} {
		if is {
			given++
		}
	}
	const ways = "ami, ami_ssm_parameter, or one or more of valid_ami_owners, valid_ami_location_regex and ami_filters"
	switch {
	case given > 1:
		return nil, dormouse.Errorf(dormouse.Configuration, "worker %s: give %s, not both", spec.Worker, ways)
	case given == 0:
		return nil, dormouse.Errorf(dormouse.Configuration, "worker %s names no image: give %s", spec.Worker, ways)
	case spec.AMI != "":
		image, err := a.pinnedImage(ctx, spec.AMI)
		return []Image{image}, err
	case spec.AMISSMParameter != "":
		return []Image{{ID: resolveSSM + spec.AMISSMParameter}}, nil
	}
	location, err := compileLocation(spec.ValidAMILocationRegex)
	if err != nil {
		return nil, err
	}
	in := imageQuery(spec)
	images, err := a.listImages(ctx, imageQueryKey(in), imagesFresh, in)
	if err != nil {
		return nil, err
	}
	sorted := SortImages(images, location)
	if len(sorted) == 0 {
		return nil, dormouse.Errorf(dormouse.Configuration,
			"no available image in %s matches %s (%d images looked at): is it shared with this account, and in this region?",
			a.region, imageWishes(spec, in.Owners), len(images))
	}
	return sorted, nil
}

// imageQuery asks for the images of the owners that pass the filters. Equal
// wishes make equal queries.
func imageQuery(spec LaunchSpec) *ec2.DescribeImagesInput {
	in := &ec2.DescribeImagesInput{}
	for _, owner := range spec.ValidAMIOwners {
		in.Owners = append(in.Owners, ownerID(owner))
	}
	slices.Sort(in.Owners)
	in.Owners = slices.Compact(in.Owners)
	for _, name := range slices.Sorted(maps.Keys(spec.AMIFilters)) {
		in.Filters = append(in.Filters, types.Filter{
			Name: new(name), Values: slices.Compact(slices.Sorted(slices.Values(spec.AMIFilters[name]))),
		})
	}
	return in
}

// imageQueryKey tells apart the listings of different queries.
func imageQueryKey(in *ec2.DescribeImagesInput) string {
	parts := []string{strings.Join(in.Owners, ",")} // an owner has no comma
	for _, f := range in.Filters {
		parts = append(parts, *f.Name, hashParts(f.Values...))
	}
	return "query:" + hashParts(parts...)
}

// imageWishes says what an image had to match.
func imageWishes(spec LaunchSpec, owners []string) string {
	var wishes []string
	if len(owners) > 0 {
		wishes = append(wishes, fmt.Sprintf("valid_ami_owners %v", owners))
	}
	if spec.ValidAMILocationRegex != "" {
		wishes = append(wishes, fmt.Sprintf("valid_ami_location_regex %q", spec.ValidAMILocationRegex))
	}
	if len(spec.AMIFilters) > 0 {
		wishes = append(wishes, fmt.Sprintf("ami_filters %v", spec.AMIFilters)) // fmt sorts the keys
	}
	return strings.Join(wishes, " and ")
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
			"AMI %s in %s cannot be launched: its state is %q; wait until it is available or choose another", id, a.region, state)
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
					Architecture:   string(i.Architecture),
					Virtualization: string(i.VirtualizationType),
					BootMode:       string(i.BootMode),
					ENA:            deref(i.EnaSupport),
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
