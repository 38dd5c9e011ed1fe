package ec2sim

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumentedActions holds the list in docs/endpoint.md to the table.
func TestDocumentedActions(t *testing.T) {
	text, err := os.ReadFile("../../docs/endpoint.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, begun := strings.Cut(string(text), "<!-- actions -->")
	list, _, ended := strings.Cut(list, "<!-- /actions -->")
	if !begun || !ended {
		t.Fatal("docs/endpoint.md has no list of actions")
	}
	var told, known []string
	for _, name := range regexp.MustCompile("`[A-Za-z]+`").FindAllString(list, -1) {
		told = append(told, strings.Trim(name, "`"))
	}
	for _, table := range actions {
		known = slices.AppendSeq(known, maps.Keys(table))
	}
	for _, of := range jsonServices {
		known = slices.AppendSeq(known, maps.Keys(of.actions))
	}
	slices.Sort(told)
	slices.Sort(known)
	if diff := cmp.Diff(known, told); diff != "" {
		t.Errorf("actions of the endpoint and of docs/endpoint.md (-endpoint +docs):\n%s", diff)
	}
}
