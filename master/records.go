package master

import "github.com/dormouse-ci/dormouse/store"

// records are the store's reads with the owner's writes, for the packages that
// need know nothing of the lease.
type records struct {
	*store.DB
	*store.Owner
}
