package ec2sim

import (
	"cmp"
	"slices"
	"strconv"
)

type describeImagesInput struct {
	paging
	ImageIDs     []string `query:"ImageId"`
	Owners       []string `query:"Owner"`
	ExecutableBy []string `query:"ExecutableBy"`
	Filters      []filter `query:"Filter"`
	_            ignored  `query:"IncludeDeprecated IncludeDisabled"`
}

type describeImagesOutput struct {
	reply
	Images    set[imageAnswer] `xml:"imagesSet"`
	NextToken string           `xml:"nextToken,omitempty"`
}

type imageAnswer struct {
	ImageID         string   `xml:"imageId"`
	Location        string   `xml:"imageLocation"`
	State           string   `xml:"imageState"`
	OwnerID         string   `xml:"imageOwnerId"`
	Public          bool     `xml:"isPublic"`
	Architecture    string   `xml:"architecture"`
	Type            string   `xml:"imageType"`
	PlatformDetails string   `xml:"platformDetails"`
	UsageOperation  string   `xml:"usageOperation"`
	Name            string   `xml:"name"`
	Description     string   `xml:"description,omitempty"`
	RootDeviceType  string   `xml:"rootDeviceType"`
	RootDeviceName  string   `xml:"rootDeviceName,omitempty"`
	Virtualization  string   `xml:"virtualizationType"`
	Tags            set[tag] `xml:"tagSet"`
	Hypervisor      string   `xml:"hypervisor"`
	CreationDate    string   `xml:"creationDate"`
}

var imageFields = fields[Image]{
	"image-id":            one(func(i Image) string { return i.ID }),
	"name":                one(func(i Image) string { return i.Name }),
	"description":         one(func(i Image) string { return i.Description }),
	"manifest-location":   one(func(i Image) string { return i.Location }),
	"owner-id":            one(func(i Image) string { return i.OwnerID }),
	"state":               one(func(i Image) string { return i.State }),
	"architecture":        one(func(i Image) string { return i.Architecture }),
	"is-public":           one(func(i Image) string { return strconv.FormatBool(i.Public) }),
	"root-device-type":    one(func(i Image) string { return i.RootDeviceType }),
	"creation-date":       one(func(i Image) string { return stamp(i.CreationDate) }),
	"image-type":          func(Image) []string { return []string{"machine"} },
	"virtualization-type": func(Image) []string { return []string{"hvm"} },
	"hypervisor":          func(Image) []string { return []string{"xen"} },
}

// describeImages lists the images that the account may see: its own and the
// public ones.
func (c *call) describeImages(in describeImagesInput) (*describeImagesOutput, error) {
	keep, err := compileFilters(in.Filters, imageFields, func(i Image) map[string]string { return c.tags[i.ID] })
	if err != nil {
		return nil, err
	}
	if err := checkAccounts(in.Owners, "self", "amazon", "aws-marketplace", "aws-backup-vault"); err != nil {
		return nil, err
	}
	if err := checkAccounts(in.ExecutableBy, "self", "all"); err != nil {
		return nil, err
	}
	if len(in.ImageIDs) > 0 {
		if _, err := lookUp(imageKind, in.ImageIDs, c.launchableImage); err != nil {
			return nil, err
		}
	}
	var found []Image
	for _, img := range c.images {
		if _, visible := c.launchableImage(img.ID); visible && keep(img) &&
			(len(in.ImageIDs) == 0 || slices.Contains(in.ImageIDs, img.ID)) &&
			(len(in.Owners) == 0 || c.ownedBy(img, in.Owners)) &&
			(len(in.ExecutableBy) == 0 || c.executableBy(img, in.ExecutableBy)) {
			found = append(found, img)
		}
	}
	place := func(img Image) int64 {
		return int64(slices.IndexFunc(c.images, func(o Image) bool { return o.ID == img.ID })) + 1
	}
	found, next, err := page(found, place, in.paging, pageLimit{1, 1000})
	if err != nil {
		return nil, err
	}
	return &describeImagesOutput{NextToken: next, Images: newSet(found, c.describeImage)}, nil
}

func (c *call) describeImage(img Image) imageAnswer {
	a := imageAnswer{
		ImageID: img.ID, Location: img.Location, State: img.State, OwnerID: img.OwnerID, Public: img.Public,
		Architecture: img.Architecture, Type: "machine", PlatformDetails: img.platform(), UsageOperation: "RunInstances",
		Name: img.Name, Description: img.Description, RootDeviceType: img.RootDeviceType, Virtualization: "hvm",
		Tags: c.describeTags(img.ID), Hypervisor: "xen", CreationDate: stamp(img.CreationDate),
	}
	if img.RootDeviceType == rootEBS {
		a.RootDeviceName = rootDevice
	}
	return a
}

// checkAccounts refuses what is neither an account nor one of these names.
func checkAccounts(accounts []string, names ...string) error {
	for _, a := range accounts {
		if !slices.Contains(names, a) && !accountForm.MatchString(a) {
			return refuse("InvalidUserID.Malformed", "Invalid user id: %q", a)
		}
	}
	return nil
}

func (c *call) ownedBy(img Image, owners []string) bool {
	return slices.Contains(owners, img.OwnerID) || img.OwnerID == c.opts.AccountID && slices.Contains(owners, "self")
}

// executableBy reports whether an image may be launched by one of these: the
// public ones by all, and here, where nothing is shared with other accounts,
// the account's own by itself.
func (c *call) executableBy(img Image, users []string) bool {
	if img.Public {
		return slices.Contains(users, "all")
	}
	return slices.Contains(users, "self") || slices.Contains(users, c.opts.AccountID)
}

// platform is what EC2 bills the image's instances as.
func (i Image) platform() string { return cmp.Or(i.Platform, "Linux/UNIX") }
