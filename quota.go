package dormouse

import "strings"

// quotaGroups are the groups of instance types that share an account's quota of vCPUs,
// in each market, by the letters that a type's name begins with ("On-Demand
// Instance quotas" and "Spot Instance quotas", Amazon EC2 User Guide).
var quotaGroups = map[string]string{
	"a": "Standard", "c": "Standard", "d": "Standard", "h": "Standard", "i": "Standard",
	"m": "Standard", "r": "Standard", "t": "Standard", "z": "Standard",
	"f": "F", "g": "G and VT", "gr": "G and VT", "vt": "G and VT", "inf": "Inf", "p": "P", "dl": "DL", "trn": "Trn",
	"x": "X", "u": "High Memory", "hpc": "HPC",
	// The older names of types that have more letters.
	"cc": "Standard", "cg": "Standard", "cr": "Standard", "hs": "Standard", "im": "Standard", "is": "Standard",
}

// QuotaGroup is the group of instance types whose quota of vCPUs a type counts
// against, "" where that is not known.
func QuotaGroup(instanceType string) string {
	letters, _, _ := strings.Cut(instanceType, ".")
	if i := strings.IndexAny(letters, "0123456789-"); i >= 0 { // u-6tb1.metal
		letters = letters[:i]
	}
	return quotaGroups[letters]
}

// quotaCodes are Service Quotas' codes of the groups' quotas: those are in the
// addresses by which the same pages link to them.
var quotaCodes = map[Market]map[string]string{
	OnDemand: {
		"Standard": "L-1216C47A", "F": "L-74FC7D96", "G and VT": "L-DB2E81BA", "Inf": "L-1945791B", "P": "L-417A185B",
		"DL": "L-6E869C2A", "Trn": "L-2C3B7624", "X": "L-7295265B", "High Memory": "L-43DA4232", "HPC": "L-F7808C92",
	},
	Spot: {
		"Standard": "L-34B43A08", "F": "L-88CF9481", "G and VT": "L-3819A6DF", "Inf": "L-B5D1601B", "P": "L-7212CCBC",
		"DL": "L-85EED4F7", "Trn": "L-6B0D517C", "X": "L-E3A00192",
	},
}

// QuotaCode is the code by which Service Quotas knows what an account may have of a
// group's vCPUs in a market, "" where it has none.
func QuotaCode(m Market, group string) string { return quotaCodes[m][group] }
