package store

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// Deployment is the identity of an installation: of all masters that ever used
// one database. What it starts in the cloud is tagged with its ID.
type Deployment struct {
	ID  string // 12 characters of lower-case base32
	Key []byte // 32 random bytes, from which secrets are derived; never shown
}

// createDeployment gives a new database its identity.
func (db *DB) createDeployment(ctx context.Context) error {
	const idLength, keyLength = 12, 32
	var id [8]byte // 12 characters of base32 take 60 bits
	key := make([]byte, keyLength)
	rand.Read(id[:])
	rand.Read(key)
	name := strings.ToLower(base32.StdEncoding.EncodeToString(id[:]))[:idLength]
	if _, err := db.Deployment(ctx); dormouse.CodeOf(err) != dormouse.NotFound {
		return err
	}
	return db.write(ctx, "creating the deployment", func(t *tx) error {
		_, err := t.exec(`INSERT INTO deployment (one, id, key) VALUES (1, $1, $2) ON CONFLICT (one) DO NOTHING`, name, key)
		return err
	})
}

// Deployment returns the identity that the database was given when it was first
// opened.
func (db *DB) Deployment(ctx context.Context) (Deployment, error) {
	var d Deployment
	err := db.read(ctx, "reading the deployment", func(t *tx) (err error) {
		d, err = single(t, "the deployment", `SELECT id, key FROM deployment`, nil, func(row scanner) (d Deployment, err error) {
			return d, row.Scan(&d.ID, &d.Key)
		})
		return err
	})
	return d, err
}
