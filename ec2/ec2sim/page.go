package ec2sim

import (
	"encoding/base64"
	"strconv"
	"strings"
)

// pageLimit is what an action allows for MaxResults.
type pageLimit struct {
	min, max int
}

// paging are the parameters of an action that answers in pages.
type paging struct {
	MaxResults *int   `query:"MaxResults"`
	NextToken  string `query:"NextToken"`
}

const tokenPrefix = "dormouse:after:"

// page cuts a page out of items, which are ordered by their sequence number. A
// token names the last item of the page before it, so that neither new items
// nor forgotten ones make a later page skip or repeat one. Without MaxResults
// there is one page.
func page[T any](items []T, sequence func(T) int64, want paging, limit pageLimit) (cut []T, next string, err error) {
	if want.NextToken != "" {
		text, err := base64.URLEncoding.DecodeString(want.NextToken)
		number, ok := strings.CutPrefix(string(text), tokenPrefix)
		after, numberErr := strconv.ParseInt(number, 10, 64)
		if err != nil || !ok || numberErr != nil {
			return nil, "", refuse("InvalidNextToken", "The specified NextToken is not valid.")
		}
		for len(items) > 0 && sequence(items[0]) <= after {
			items = items[1:]
		}
	}
	if want.MaxResults == nil {
		return items, "", nil
	}
	size := *want.MaxResults
	if size < limit.min {
		return nil, "", refuse("InvalidParameterValue",
			"Value ( %d ) for parameter maxResults is invalid. Expecting a value greater than or equal to %d.", size, limit.min)
	}
	if size = min(size, limit.max); size >= len(items) {
		return items, "", nil
	}
	last := sequence(items[size-1])
	return items[:size], base64.URLEncoding.EncodeToString([]byte(tokenPrefix + strconv.FormatInt(last, 10))), nil
}
