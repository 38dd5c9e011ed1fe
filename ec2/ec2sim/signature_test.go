package ec2sim

import (
	"errors"
	"strings"
	"testing"
)

func FuzzParseSignature(f *testing.F) {
	good := sigAlgorithm + " Credential=ID/20260102/us-east-1/ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature=" +
		strings.Repeat("ab", 32)
	for _, header := range []string{
		good, "", "Basic eDp5", strings.Replace(good, "aws4_request", "x", 1), strings.Replace(good, "host;", "", 1),
		strings.Replace(good, "host;x-amz-date", "x-amz-date;host", 1), strings.TrimSuffix(good, "ab"), good + "zz",
	} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		sig, err := parseSignature(header)
		switch {
		case header == good && err != nil:
			t.Error(err)
		case err != nil:
			if refused := (*fault)(nil); !errors.As(err, &refused) {
				t.Errorf("%v is no answer", err)
			}
		case sig.accessKeyID == "" || len(sig.value) != 32 || !strings.Contains(header, "host"):
			t.Errorf("accepted %q as %+v", header, sig)
		}
	})
}
