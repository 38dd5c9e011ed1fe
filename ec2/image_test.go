package ec2

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

func TestSortImages(t *testing.T) {
	at := func(locations ...string) []Image {
		var images []Image
		for i, l := range locations {
			images = append(images, Image{ID: fmt.Sprintf("ami-%d", i), Location: l, State: "available"})
		}
		return images
	}
	tests := []struct {
		name    string
		pattern string
		images  []Image
		want    []string // locations, or ids where locations repeat
	}{
		{"by location without an expression", "", at("b/x", "c/x", "a/x"), []string{"a/x", "b/x", "c/x"}},
		{"by location without a group", `bot-.*/m`, at("bot-2/m", "bot-10/m", "other/m"), []string{"bot-10/m", "bot-2/m"}},
		{"ten after two as numbers", `bot-(\d+)/m`, at("bot-10/m", "bot-2/m", "bot-1/m"), []string{"bot-1/m", "bot-2/m", "bot-10/m"}},
		{"as text when one is no number", `bot-(.*)/m`, at("bot-10/m", "bot-2/m", "bot-x/m"), []string{"bot-10/m", "bot-2/m", "bot-x/m"}},
		{"only the first group", `(\w)-(\d+)`, at("b-1", "a-9"), []string{"a-9", "b-1"}},
		{
			"numbers of any size", `bot-(\d+)`, at("bot-100000000000000000000000000000001", "bot-100000000000000000000000000000002", "bot-9"),
			[]string{"bot-9", "bot-100000000000000000000000000000001", "bot-100000000000000000000000000000002"},
		},
		{"equal numbers by text", `bot-(\d+)`, at("bot-1", "bot-01"), []string{"bot-01", "bot-1"}},
		{"signs", `bot(.*)/`, at("bot+2/", "bot-3/", "bot1/"), []string{"bot-3/", "bot1/", "bot+2/"}},
		{"a group that took no part", `bot(?:-(\d+))?/m`, at("bot-9/m", "bot/m", "bot-10/m"), []string{"bot-10/m", "bot-9/m", "bot/m"}},
		{"an empty group is text", `bot-(\d*)`, at("bot-3", "bot-"), []string{"bot-", "bot-3"}},
		{"matches from the start, not in the middle", `bot`, at("xbot", "bot", "bottom"), []string{"bot", "bottom"}},
		{"multi-line flag does not move the start", `(?m)^bot`, at("x\nbot", "bot"), []string{"bot"}},
		{"alternatives stay together", `a|b`, at("xb", "b", "a"), []string{"a", "b"}},
		{"nothing matches", `z`, at("a"), []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			re, err := compileLocation(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, image := range SortImages(tt.images, re) {
				got = append(got, image.Location)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("only available images, ties by id", func(t *testing.T) {
		got := SortImages([]Image{
			{ID: "ami-2", Location: "a", State: "available"},
			{ID: "ami-9", Location: "a", State: "pending"},
			{ID: "ami-1", Location: "a", State: "available"},
			{ID: "ami-8", Location: "a", State: "deregistered"},
		}, nil)
		if len(got) != 2 || got[0].ID != "ami-1" || got[1].ID != "ami-2" {
			t.Errorf("got %v", got)
		}
	})
}

func TestCompileLocationRefuses(t *testing.T) {
	for _, pattern := range []string{`a)(b`, `(?=x)`, `(a)\1`, `[`, `(?P<n`} {
		_, err := compileLocation(pattern)
		wantCode(t, err, dormouse.Configuration, "valid_ami_location_regex")
	}
}

func TestOwnerID(t *testing.T) {
	for in, want := range map[string]string{
		"11111111111": "011111111111", "801119661308": "801119661308", "self": "self", "7": "000000000007",
	} {
		if got := ownerID(in); got != want {
			t.Errorf("ownerID(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzSortImages(f *testing.F) {
	f.Add(`bot-(\d+)`, "bot-1", "bot-22")
	f.Add(`(.*)`, "", "\xff")
	f.Fuzz(func(t *testing.T, pattern, a, b string) {
		re, err := compileLocation(pattern)
		if err != nil {
			return
		}
		x, y := Image{ID: "1", Location: a, State: "available"}, Image{ID: "2", Location: b, State: "available"}
		one, two := SortImages([]Image{x, y}, re), SortImages([]Image{y, x}, re)
		if diff := cmp.Diff(one, two); diff != "" {
			t.Errorf("the order depends on the listing's (-one +two):\n%s", diff)
		}
	})
}

func BenchmarkSortImages(b *testing.B) {
	images := make([]Image, 10_000)
	for i := range images {
		images[i] = Image{ID: fmt.Sprintf("ami-%08x", i), Location: fmt.Sprintf("bucket/bot-linux-%d/image", (i*7919)%10_000), State: "available"}
	}
	re, err := compileLocation(`bucket/bot-.*-(\d+)/`)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if len(SortImages(images, re)) != len(images) {
			b.Fatal("an image was lost")
		}
	}
}
