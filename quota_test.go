package dormouse

import "testing"

// TestQuotaGroups: the groups are those of the EC2 User Guide.
func TestQuotaGroups(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"t3.micro": "Standard", "m1.small": "Standard", "c7gn.xlarge": "Standard", "im4gn.large": "Standard", "z1d.large": "Standard",
		"f1.2xlarge": "F", "g5.xlarge": "G and VT", "gr6.4xlarge": "G and VT", "vt1.3xlarge": "G and VT", "inf2.xlarge": "Inf",
		"p4d.24xlarge": "P", "dl1.24xlarge": "DL", "trn1.2xlarge": "Trn", "x2gd.medium": "X", "u-6tb1.metal": "High Memory",
		"hpc6a.48xlarge": "HPC", "mac2.metal": "", "q1.large": "", "": "",
	} {
		if got := QuotaGroup(name); got != want {
			t.Errorf("%s counts against %q, want %q", name, got, want)
		}
	}
}

// TestQuotaCodes: each group has a quota of its own in each market, but for those
// that are not sold on the spot.
func TestQuotaCodes(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, group := range quotaGroups {
		for _, m := range []Market{OnDemand, Spot} {
			code, is := QuotaCode(m, group), string(m)+" "+group
			if want := is != "spot High Memory" && is != "spot HPC"; (code != "") != want {
				t.Errorf("%s: %q", is, code)
			}
			if other := seen[code]; code != "" && other != "" && other != is {
				t.Errorf("%s is of %s and of %s", code, other, is)
			}
			seen[code] = is
		}
	}
}
