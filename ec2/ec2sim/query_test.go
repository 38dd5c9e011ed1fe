package ec2sim

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample has one of everything that a parameter can be.
type sample struct {
	paging
	Name   string      `query:"Name,required"`
	Flag   bool        `query:"Flag"`
	Size   *int        `query:"Size"`
	Data   blob        `query:"Data"`
	IDs    []string    `query:"Id"`
	Place  sub         `query:"Place"`
	Places []sub       `query:"P"`
	_      ignored     `query:"Ignored Also"`
	_      unsimulated `query:"Unsimulated"`
}

type sub struct {
	Zone string `query:"Zone"`
	Tags []tag  `query:"Tag"`
}

func decodeSample(query string) (sample, error) {
	var out sample
	form, err := url.ParseQuery(query)
	if err != nil {
		return out, err
	}
	root, err := parseQuery(form)
	if err != nil {
		return out, err
	}
	return out, root.decode(&out)
}

func TestDecode(t *testing.T) {
	got, err := decodeSample("Name=n&Flag=TRUE&Size=-7&Data=aGk%3D&Id.2=b&Id.10=c&Id.1=a&Place.Zone=z&Place.Tag.1.Key=k&" +
		"P.1.Tag.1.Key=x&P.1.Tag.1.Value=y&P.2.Zone=q&Ignored.Whatever=1&Also=2&MaxResults=5&NextToken=t")
	if err != nil {
		t.Fatal(err)
	}
	size, most := -7, 5
	want := sample{
		paging: paging{&most, "t"}, Name: "n", Flag: true, Size: &size, Data: blob("hi"), IDs: []string{"a", "b", "c"},
		Place:  sub{Zone: "z", Tags: []tag{{Key: "k"}}},
		Places: []sub{{Tags: []tag{{"x", "y"}}}, {Zone: "q"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{}), cmp.Comparer(func(a, b paging) bool {
		return *a.MaxResults == *b.MaxResults && a.NextToken == b.NextToken
	})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for query, want := range map[string]string{
		"":                         "MissingParameter: The request must contain the parameter Name",
		"Name=n&Colour=red":        "UnknownParameter: The parameter Colour is not recognized",
		"Name=n&Place.Colour=red":  "UnknownParameter: The parameter Place.Colour is not recognized",
		"Name=n&Name.1=m":          "UnknownParameter: The parameter Name.1 is not recognized",
		"Name=n&Place=z":           "UnknownParameter: The parameter Place is not recognized",
		"Name=n&Id=a":              "UnknownParameter: The parameter Id is not recognized",
		"Name=n&Id.x=a":            "UnknownParameter: The parameter Id.x is not recognized",
		"Name=n&Id.01=a":           "UnknownParameter: The parameter Id.01 is not recognized",
		"Name=n&Id.-1=a":           "UnknownParameter: The parameter Id.-1 is not recognized",
		"Name=n&Place.Tag.1.Value": "MissingParameter: The request must contain the parameter Place.Tag.1.Key",
		"Name=n&Name=m":            "MalformedQueryString: The parameter Name is there 2 times",
		"Name=n&Flag=maybe":        "InvalidParameterValue: Value (maybe) for parameter Flag is invalid. Expecting true or false.",
		"Name=n&Size=1.5":          "InvalidParameterValue: Value (1.5) for parameter Size is invalid. Expecting an integer.",
		"Name=n&Size=3000000000":   "InvalidParameterValue: Value (3000000000) for parameter Size is invalid. Expecting an integer.",
		"Name=n&Data=!":            "InvalidUserData.Malformed: Invalid BASE64 encoding of user data.",
		"Name=n&Unsimulated.X=1":   "UnsupportedOperation: The local endpoint does not simulate the parameter Unsimulated",
		"Name=n&.=1":               "UnknownParameter: The parameter . is not recognized",
		"Name=n&a.b.c.d.e.f.g.h.i": "UnknownParameter: The parameter a.b.c.d.e.f.g.h.i is not recognized",
	} {
		if _, err := decodeSample(query); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", query, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("Name=n&Flag=true&Size=7&Data=aGk%3D&Id.1=a&Place.Zone=z&P.1.Tag.1.Key=x&P.1.Tag.1.Value=y")
	f.Add("Name=n&Id.2147483647=a&Id.0=b")
	f.Add("Name.1.2.3.4.5.6.7.8.9=n")
	f.Fuzz(func(t *testing.T, query string) {
		got, err := decodeSample(query)
		if err != nil {
			var refused *fault
			var syntax url.EscapeError
			if !errors.As(err, &refused) && !errors.As(err, &syntax) && !strings.Contains(err.Error(), "semicolon") {
				t.Errorf("%q: %v is no answer", query, err)
			}
			return
		}
		// Nothing of what was accepted was dropped.
		form, _ := url.ParseQuery(query)
		if len(got.IDs) > len(form) || got.Name != form.Get("Name") {
			t.Errorf("%q: %+v", query, got)
		}
	})
}

func TestMatches(t *testing.T) {
	for _, tc := range []struct {
		pattern, value string
		want           bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "a", true},
		{"a", "A", false},
		{"*", "", true},
		{"*", "anything", true},
		{"a*c", "abbbc", true},
		{"a*c", "abbb", false},
		{"?", "é", true},
		{"?", "", false},
		{"a?c*", "abcd", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`\?x`, "?x", true},
		{`\\`, `\`, true},
		{"*ab*ab*", "abcab", true},
		{"*ab*ab*", "abc", false},
		{strings.Repeat("*a", 20) + "b", strings.Repeat("a", 2000), false},
	} {
		if got := matches(tc.pattern, tc.value); got != tc.want {
			t.Errorf("%q and %q: %t", tc.pattern, tc.value, got)
		}
	}
}

// post sends a request that is signed but that no SDK would make.
func TestRequestsThatNoSDKMakes(t *testing.T) {
	s := newServer(t, Options{})
	for name, tc := range map[string]struct {
		method, query, body string
		status              int
		want                string
	}{
		"nothing":        {"GET", "", "", 403, "MissingAuthenticationToken"},
		"method":         {"DELETE", "", "", 405, "InvalidRequest"},
		"bad query":      {"GET", "a=%zz", "", 400, "MalformedQueryString"},
		"bad body":       {"POST", "", "a=%zz", 400, "MalformedQueryString"},
		"large":          {"POST", "", strings.Repeat("x", maxRequest+1), 413, "RequestEntityTooLarge"},
		"no action":      {"GET", "signed&Version=" + ec2Version, "", 400, "MissingAction"},
		"unknown action": {"POST", "", "signed&Action=MakeCoffee&Version=" + ec2Version, 400, "InvalidAction"},
		"old version":    {"POST", "", "signed&Action=DescribeRegions&Version=2009-01-01", 400, "InvalidAction"},
		"unknown":        {"POST", "", "signed&Action=DescribeRegions&Version=" + ec2Version + "&X=1", 400, "UnknownParameter"},
		"missing":        {"POST", "", "signed&Action=CreateTags&ResourceId.1=i-12345678&Version=" + ec2Version, 400, "MissingParameter"},
		"in the query":   {"GET", "signed&Action=DescribeRegions&Version=" + ec2Version, "", 200, "us-east-1"},
	} {
		signed := strings.Contains(tc.query+tc.body, "signed")
		query, body := strings.TrimPrefix(tc.query, "signed&"), strings.TrimPrefix(tc.body, "signed&")
		r, err := http.NewRequestWithContext(t.Context(), tc.method, "http://ec2.local/?"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if signed {
			sign(r, body)
		}
		status, text := send(t, s, r)
		if status != tc.status || !strings.Contains(text, tc.want) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if calls := s.Ledger().Calls; calls["MakeCoffee"] != 0 || calls["DescribeRegions"] != 3 {
		t.Errorf("calls: %v", calls)
	}
}
