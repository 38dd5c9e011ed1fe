package ec2sim

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

type registerImageInput struct {
	Name              string             `query:"Name,required"`
	Description       string             `query:"Description"`
	Architecture      string             `query:"Architecture"`
	Location          string             `query:"ImageLocation"`
	RootDevice        string             `query:"RootDeviceName"`
	Virtualization    string             `query:"VirtualizationType"`
	BlockDevices      []blockDeviceInput `query:"BlockDeviceMapping"`
	TagSpecifications []tagSpecification `query:"TagSpecification"`
	_                 ignored            `query:"BootMode EnaSupport ImdsSupport SriovNetSupport UefiData BillingProduct"`
	_                 unsimulated        `query:"KernelId RamdiskId TpmSupport"`
}

type registerImageOutput struct {
	reply
	ImageID string `xml:"imageId"`
}

// registerImage makes an image of the account's own. What boots of it is its
// instance's user data, when that is a script.
func (c *call) registerImage(in registerImageInput) (*registerImageOutput, error) {
	if n := utf8.RuneCountInString(in.Name); n < 3 || n > 128 {
		return nil, refuse("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long")
	}
	if slices.ContainsFunc(c.images, func(i Image) bool { return i.Name == in.Name && i.OwnerID == c.opts.AccountID }) {
		return nil, refuse("InvalidAMIName.Duplicate", "AMI name %s is already in use by this account", in.Name)
	}
	if arch := cmp.Or(in.Architecture, archX86); arch != archX86 && arch != archARM {
		return nil, invalidValue("architecture", arch, "The types of this endpoint are x86_64 and arm64.")
	}
	if kind := cmp.Or(in.Virtualization, "hvm"); kind != "hvm" {
		return nil, invalidValue("virtualizationType", kind, "Expecting hvm.")
	}
	if root := cmp.Or(in.RootDevice, rootDevice); root != rootDevice {
		return nil, invalidValue("rootDeviceName", root, "Expecting "+rootDevice+".")
	}
	if err := checkTagSpecifications(in.TagSpecifications, "image"); err != nil {
		return nil, err
	}
	img := Image{
		ID: newID("ami"), Name: in.Name, Architecture: in.Architecture, Description: in.Description, Location: in.Location, CreationDate: c.now,
		RootDeviceType: choose(in.Location == "", rootEBS, rootInstanceStore),
	}
	if err := img.complete(c.opts.AccountID); err != nil {
		return nil, err
	}
	if _, err := planDisks(img, in.BlockDevices); err != nil {
		return nil, err
	}
	if err := c.room(len(c.images)); err != nil {
		return nil, err
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	c.images = append(c.images, img)
	c.tag(img.ID, tagsFor(in.TagSpecifications, "image"))
	return &registerImageOutput{ImageID: img.ID}, nil
}

type deregisterImageInput struct {
	ImageID string  `query:"ImageId,required"`
	_       ignored `query:"DeleteAssociatedSnapshots"`
}

// deregisterImage takes an image away. Instances that were launched from it do
// not notice.
func (c *call) deregisterImage(in deregisterImageInput) (*done, error) {
	found, err := lookUp(imageKind, []string{in.ImageID}, c.launchableImage)
	if err != nil {
		return nil, err
	}
	if found[0].OwnerID != c.opts.AccountID {
		return nil, refuse("AuthFailure", "Not authorized for image:%s", in.ImageID)
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	c.images = slices.DeleteFunc(slices.Clone(c.images), func(i Image) bool { return i.ID == in.ImageID })
	delete(c.tags, in.ImageID)
	return &done{Return: true}, nil
}
