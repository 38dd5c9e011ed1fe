package store

import (
	"context"
	"fmt"

	"github.com/dormouse-ci/dormouse"
)

const artifactColumns = `build_id, step_id, path, bytes, sha256, created_at`

func scanArtifact(row scanner) (dormouse.Artifact, error) {
	var a dormouse.Artifact
	err := row.Scan(&a.BuildID, &a.StepID, &a.Path, &a.Bytes, &a.SHA256, timeColumn{&a.CreatedAt})
	return a, err
}

// AddArtifacts stores what a running build has kept, all or none. One with the
// path of an earlier one takes its place.
func (o *Owner) AddArtifacts(ctx context.Context, buildID int64, artifacts []dormouse.Artifact) error {
	return o.write(ctx, "adding artifacts of "+buildName(buildID), func(t *tx) error {
		if err := t.lockRunningBuild(buildID); err != nil {
			return err
		}
		for _, a := range artifacts {
			_, err := t.exec(`INSERT INTO artifacts (`+artifactColumns+`) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (build_id, path) DO UPDATE SET step_id = excluded.step_id, bytes = excluded.bytes,
					sha256 = excluded.sha256, created_at = excluded.created_at`,
				buildID, a.StepID, a.Path, a.Bytes, a.SHA256, micros(a.CreatedAt))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Artifacts returns what a build has kept, by path, from the first one after a
// path on; "" is from the beginning. A limit of 0 is 100; there are 1000 at
// most.
func (db *DB) Artifacts(ctx context.Context, buildID int64, after string, limit int) (artifacts []dormouse.Artifact, err error) {
	err = db.snapshot(ctx, "reading the artifacts of "+buildName(buildID), func(t *tx) error {
		if _, err := t.build(buildID); err != nil {
			return err
		}
		artifacts, err = all(t, `SELECT `+artifactColumns+` FROM artifacts WHERE build_id = $1 AND path > $2 ORDER BY path LIMIT $3`,
			[]any{buildID, after, int64(pageSize(limit))}, scanArtifact)
		return err
	})
	return artifacts, err
}

// NewestArtifacts returns a file of the latest build that has kept any; none
// where no build has.
func (db *DB) NewestArtifacts(ctx context.Context) (artifacts []dormouse.Artifact, err error) {
	err = db.read(ctx, "reading the newest artifact", func(t *tx) (err error) {
		artifacts, err = all(t, `SELECT `+artifactColumns+` FROM artifacts
			WHERE build_id = (SELECT MAX(build_id) FROM artifacts) ORDER BY path LIMIT 1`, nil, scanArtifact)
		return err
	})
	return artifacts, err
}

// Artifact returns one file that a build has kept.
func (db *DB) Artifact(ctx context.Context, buildID int64, path string) (a dormouse.Artifact, err error) {
	what := fmt.Sprintf("artifact %q of %s", path, buildName(buildID))
	err = db.read(ctx, "reading "+what, func(t *tx) (err error) {
		a, err = single(t, what, `SELECT `+artifactColumns+` FROM artifacts WHERE build_id = $1 AND path = $2`,
			[]any{buildID, path}, scanArtifact)
		return err
	})
	return a, err
}
