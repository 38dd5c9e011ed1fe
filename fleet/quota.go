package fleet

import "strings"

// quotas are the groups of instance types that share an account's quota of vCPUs,
// in each market, by the letters that a type's name begins with ("On-Demand
// Instance quotas" and "Spot Instance quotas", Amazon EC2 User Guide).
var quotas = map[string]string{
	"a": "Standard", "c": "Standard", "d": "Standard", "h": "Standard", "i": "Standard",
	"m": "Standard", "r": "Standard", "t": "Standard", "z": "Standard",
	"f": "F", "g": "G and VT", "gr": "G and VT", "vt": "G and VT", "inf": "Inf", "p": "P", "dl": "DL", "trn": "Trn",
	"x": "X", "u": "High Memory", "hpc": "HPC",
	// The older names of types that have more letters.
	"cc": "Standard", "cg": "Standard", "cr": "Standard", "hs": "Standard", "im": "Standard", "is": "Standard",
}

// quotaOf is the group whose quota an instance type counts against, "" where that
// is not known.
func quotaOf(instanceType string) string {
	letters, _, _ := strings.Cut(instanceType, ".")
	if i := strings.IndexAny(letters, "0123456789-"); i >= 0 { // u-6tb1.metal
		letters = letters[:i]
	}
	return quotas[letters]
}
