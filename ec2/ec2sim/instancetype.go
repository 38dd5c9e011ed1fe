package ec2sim

import (
	"slices"
	"strconv"
	"strings"
)

// instanceType is a type of instance that can be launched, with AWS's price
// for it.
type instanceType struct {
	name         string
	vcpus        int
	memoryMiB    int
	burstable    bool
	current      bool    // of a generation that AWS still offers
	pricePerHour float64 // US dollars
}

// priceSource says where the prices come from.
const priceSource = "AWS on-demand list price, Linux, us-east-1"

// instanceTypes are the ones that can be launched. The prices are those of
// Amazon EC2's on-demand price list for Linux in us-east-1
// (https://aws.amazon.com/ec2/pricing/on-demand/, and the previous generations'
// page), whatever region the endpoint claims to be.
var instanceTypes = []instanceType{
	{"c5.large", 2, 4096, false, true, 0.085},
	{"c5.xlarge", 4, 8192, false, true, 0.17},
	{"c7g.large", 2, 4096, false, true, 0.0725},
	{"m1.large", 2, 7680, false, false, 0.175},
	{"m1.small", 1, 1741, false, false, 0.044},
	{"m5.large", 2, 8192, false, true, 0.096},
	{"m5.xlarge", 4, 16384, false, true, 0.192},
	{"m6i.large", 2, 8192, false, true, 0.096},
	{"m7g.large", 2, 8192, false, true, 0.0816},
	{"m7i.large", 2, 8192, false, true, 0.1008},
	{"t2.micro", 1, 1024, true, true, 0.0116},
	{"t3.large", 2, 8192, true, true, 0.0832},
	{"t3.medium", 2, 4096, true, true, 0.0416},
	{"t3.micro", 2, 1024, true, true, 0.0104},
	{"t3.nano", 2, 512, true, true, 0.0052},
	{"t3.small", 2, 2048, true, true, 0.0208},
	{"t4g.micro", 2, 1024, true, true, 0.0084},
	{"t4g.small", 2, 2048, true, true, 0.0168},
}

// The architectures of images and types.
const (
	archX86 = "x86_64"
	archARM = "arm64"
)

// graviton are the families whose processors are AWS's own.
var graviton = []string{"c7g", "m7g", "t4g"}

func (t instanceType) architecture() string {
	family, _, _ := strings.Cut(t.name, ".")
	if slices.Contains(graviton, family) {
		return archARM
	}
	return archX86
}

func typeNamed(name string) (instanceType, bool) {
	i := slices.IndexFunc(instanceTypes, func(t instanceType) bool { return t.name == name })
	if i < 0 {
		return instanceType{}, false
	}
	return instanceTypes[i], true
}

type describeInstanceTypesInput struct {
	paging
	InstanceTypes []string `query:"InstanceType"`
	Filters       []filter `query:"Filter"`
	_             ignored  `query:"IncludeUnsupportedInRegion"`
}

type describeInstanceTypesOutput struct {
	reply
	InstanceTypes set[instanceTypeInfo] `xml:"instanceTypeSet"`
	NextToken     string                `xml:"nextToken,omitempty"`
}

type instanceTypeInfo struct {
	InstanceType         string      `xml:"instanceType"`
	CurrentGeneration    bool        `xml:"currentGeneration"`
	FreeTierEligible     bool        `xml:"freeTierEligible"`
	UsageClasses         set[string] `xml:"supportedUsageClasses"`
	RootDeviceTypes      set[string] `xml:"supportedRootDeviceTypes"`
	VirtualizationTypes  set[string] `xml:"supportedVirtualizationTypes"`
	BareMetal            bool        `xml:"bareMetal"`
	Architectures        set[string] `xml:"processorInfo>supportedArchitectures"`
	DefaultVCPUs         int         `xml:"vCpuInfo>defaultVCpus"`
	MemoryMiB            int         `xml:"memoryInfo>sizeInMiB"`
	BurstablePerformance bool        `xml:"burstablePerformanceSupported"`
}

var instanceTypeFields = fields[instanceType]{
	"instance-type":                         one(func(t instanceType) string { return t.name }),
	"current-generation":                    one(func(t instanceType) string { return strconv.FormatBool(t.current) }),
	"burstable-performance-supported":       one(func(t instanceType) string { return strconv.FormatBool(t.burstable) }),
	"vcpu-info.default-vcpus":               one(func(t instanceType) string { return strconv.Itoa(t.vcpus) }),
	"memory-info.size-in-mib":               one(func(t instanceType) string { return strconv.Itoa(t.memoryMiB) }),
	"processor-info.supported-architecture": one(instanceType.architecture),
}

func (c *call) describeInstanceTypes(in describeInstanceTypesInput) (*describeInstanceTypesOutput, error) {
	keep, err := compileFilters(in.Filters, instanceTypeFields, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range in.InstanceTypes {
		if _, ok := typeNamed(name); !ok {
			return nil, refuse("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", name)
		}
	}
	var chosen []instanceType
	for _, t := range instanceTypes {
		if keep(t) && (len(in.InstanceTypes) == 0 || slices.Contains(in.InstanceTypes, t.name)) {
			chosen = append(chosen, t)
		}
	}
	place := func(t instanceType) int64 {
		return int64(slices.IndexFunc(instanceTypes, func(o instanceType) bool { return o.name == t.name })) + 1
	}
	chosen, next, err := page(chosen, place, in.paging, pageLimit{5, 100})
	if err != nil {
		return nil, err
	}
	return &describeInstanceTypesOutput{NextToken: next, InstanceTypes: newSet(chosen, describeType)}, nil
}

func describeType(t instanceType) instanceTypeInfo {
	return instanceTypeInfo{
		InstanceType:         t.name,
		CurrentGeneration:    t.current,
		UsageClasses:         set[string]{[]string{"on-demand", "spot"}},
		RootDeviceTypes:      set[string]{[]string{rootEBS}},
		VirtualizationTypes:  set[string]{[]string{"hvm"}},
		Architectures:        set[string]{[]string{t.architecture()}},
		DefaultVCPUs:         t.vcpus,
		MemoryMiB:            t.memoryMiB,
		BurstablePerformance: t.burstable,
	}
}
