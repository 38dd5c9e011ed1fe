package ec2sim

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse/internal/listen"
)

const (
	sigAlgorithm = "AWS4-HMAC-SHA256"
	sigTime      = "20060102T150405Z"
	// maxSkew is how far a request's clock may be from ours: "a request must
	// reach AWS within five minutes of the time stamp in the request" (IAM User
	// Guide, "Signing AWS API requests").
	maxSkew = 5 * time.Minute
)

// signature is an Authorization header of Signature Version 4, taken apart.
type signature struct {
	accessKeyID   string
	date          string // the scope's, YYYYMMDD
	region        string
	service       string
	signedHeaders []string // sorted, in lower case
	value         []byte
}

// parseSignature reads
//
//	AWS4-HMAC-SHA256 Credential=ID/DATE/REGION/SERVICE/aws4_request, SignedHeaders=A;B, Signature=HEX
func parseSignature(header string) (signature, error) {
	var sig signature
	if header == "" {
		return sig, refuse("MissingAuthenticationToken", "Request is missing Authentication Token").withStatus(http.StatusForbidden)
	}
	incomplete := refuse("IncompleteSignature", "The request signature does not conform to AWS standards.").withStatus(http.StatusForbidden)
	rest, ok := strings.CutPrefix(header, sigAlgorithm+" ")
	if !ok {
		return sig, incomplete
	}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			scope := strings.Split(value, "/")
			if len(scope) != 5 || scope[4] != "aws4_request" {
				return sig, incomplete
			}
			sig.accessKeyID, sig.date, sig.region, sig.service = scope[0], scope[1], scope[2], scope[3]
		case "SignedHeaders":
			sig.signedHeaders = strings.Split(value, ";")
		case "Signature":
			raw, err := hex.DecodeString(value)
			if err != nil {
				return sig, incomplete
			}
			sig.value = raw
		}
	}
	if sig.accessKeyID == "" || len(sig.value) != sha256.Size || !slices.Contains(sig.signedHeaders, "host") ||
		!slices.Contains(sig.signedHeaders, "x-amz-date") || !slices.IsSorted(sig.signedHeaders) {
		return sig, incomplete
	}
	return sig, nil
}

// authenticate checks a request's signature over everything that it says it
// signed, and returns it.
func (s *Server) authenticate(r *http.Request, body []byte, now time.Time) (signature, error) {
	sig, err := parseSignature(r.Header.Get("Authorization"))
	if err != nil {
		return sig, err
	}
	secret, err := s.secretOf(sig, r.Header.Get("X-Amz-Security-Token"), now)
	if err != nil {
		return sig, err
	}
	date := r.Header.Get("X-Amz-Date")
	when, err := time.Parse(sigTime, date)
	if err != nil || !strings.HasPrefix(date, sig.date+"T") {
		return sig, refuse("IncompleteSignature", "Date in Credential scope does not match the request's date.").withStatus(http.StatusForbidden)
	}
	if when.Before(now.Add(-maxSkew)) || when.After(now.Add(maxSkew)) {
		return sig, refuse("RequestExpired", "Request has expired: it was signed at %s and it is %s", stamp(when), stamp(now))
	}
	if !hmac.Equal(sig.value, sig.expected(secret, date, canonicalRequest(r, body, sig.signedHeaders))) {
		if sig.service == serviceEC2 {
			return sig, errAuthFailure()
		}
		return sig, refuse("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. "+
			"Check your AWS Secret Access Key and signing method.").withStatus(http.StatusForbidden)
	}
	if sig.region != s.opts.Region && (sig.service != servicePricing || !slices.Contains(pricingRegions, sig.region)) {
		return sig, refuse("SignatureDoesNotMatch", "Credential should be scoped to a valid region: this endpoint is %s, not %s",
			s.opts.Region, sig.region).withStatus(http.StatusForbidden)
	}
	listen.Prove(r.Context())
	return sig, nil
}

// expected computes the signature that a request should have.
func (sig signature) expected(secret, date string, canonical []byte) []byte {
	hashed := sha256.Sum256(canonical)
	scope := strings.Join([]string{sig.date, sig.region, sig.service, "aws4_request"}, "/")
	toSign := strings.Join([]string{sigAlgorithm, date, scope, hex.EncodeToString(hashed[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{sig.date, sig.region, sig.service, "aws4_request", toSign} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return key
}

// canonicalRequest is the text whose hash is signed.
func canonicalRequest(r *http.Request, body []byte, signedHeaders []string) []byte {
	var b bytes.Buffer
	line := func(text string) { b.WriteString(text); b.WriteByte('\n') }
	line(r.Method)
	if path := r.URL.EscapedPath(); path != "" {
		line(path)
	} else {
		line("/")
	}
	line(canonicalQuery(r.URL.Query()))
	for _, name := range signedHeaders {
		line(name + ":" + headerValue(r, name))
	}
	line("")
	line(strings.Join(signedHeaders, ";"))
	hash := sha256.Sum256(body)
	b.WriteString(hex.EncodeToString(hash[:]))
	return b.Bytes()
}

func headerValue(r *http.Request, name string) string {
	values := r.Header.Values(name)
	switch {
	case name == "host":
		values = []string{r.Host}
	case name == "content-length" && len(values) == 0:
		values = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(trimmed, ",")
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, escape(name)+"="+escape(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape percent-encodes all but RFC 3986's unreserved characters.
func escape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}
